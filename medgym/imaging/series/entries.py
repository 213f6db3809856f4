"""The files of a series: those of a folder, the members of a zip, or what a DICOMDIR names.

Links, pipes and devices among them are refused. A member of a zip is unpacked for itself, when it
is asked for, and never under its own name.
"""

import io
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, KeysView
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.dicom.file import quiet
from medgym.memory import VARIABLE, image_memory, readable

MOST_FILES = 100_000
"""The most files of a folder or a zip that are looked at."""

MOST_HEADER = 16 * 2**20
"""Bytes of a file that are read to find its pixels."""

DIRECTORY_CLASS = b"1.2.840.10008.1.3.10"
"""The UID by which a DICOMDIR says that it is one."""

Stamp = tuple[int, int, int]

_UNBLOCKED = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


class Entry(ABC):
    """A file of a series.

    Attributes:
        name: what errors call it.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def suffix(self) -> str:
        """What its name ends in, such as `.dcm`."""

    @abstractmethod
    def head(self, size: int) -> bytes:
        """The first bytes, `size` at most."""

    @abstractmethod
    def state(self) -> Hashable:
        """What is another as soon as the file is another, found without reading it."""

    @abstractmethod
    def readable(self) -> AbstractContextManager[Path]:
        """A context with a path at which the whole file can be read."""


class FileEntry(Entry):
    """A file of a folder. It must not change after it was first looked at."""

    __slots__ = ("_path", "_stamp")

    def __init__(self, path: str, stamp: Stamp | None, name: str | None = None) -> None:
        super().__init__(name or path)
        self._path = path
        self._stamp = stamp

    @property
    def suffix(self) -> str:
        """See `Entry.suffix`."""
        return os.path.splitext(self._path)[1]

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._path)

    def state(self) -> Hashable:
        """See `Entry.state`."""
        return self._stamp

    def head(self, size: int) -> bytes:
        """See `Entry.head`."""
        try:
            if self._stamp is None:
                raise OSError
            # A series has thousands of files, and `open_regular` takes twice as long. What has this
            # stamp was a regular file when it was found, so that opening it waits for nothing.
            descriptor = os.open(self._path, _UNBLOCKED)
        except OSError:
            with open_regular(Path(self._path), "image") as stream:  # it says what is wrong
                self._check(os.fstat(stream.fileno()))
                return stream.read(size)
        try:
            self._check(os.fstat(descriptor))
            return os.read(descriptor, size)
        finally:
            os.close(descriptor)

    @contextmanager
    def readable(self) -> Iterator[Path]:
        """See `Entry.readable`."""
        path = Path(self._path)
        with open_regular(path, "image") as stream:
            self._check(os.fstat(stream.fileno()))
        yield path

    def _check(self, found: os.stat_result) -> None:
        if self._stamp != _stamp(found):
            raise _changed(self._path)


class Archive:
    """A zip, whose members are read one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()
        self.stamp = _stamp(os.fstat(self._stream.fileno()))

    def _open(self) -> None:
        self._process = os.getpid()
        self._stream = open_regular(self.path, "image")
        try:
            self._zip = zipfile.ZipFile(self._stream)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            self._stream.close()
            raise UserError(f"{self.path} is not a whole zip; fix: copy it again") from None

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            stream.close()

    def entries(self) -> list[Entry]:
        """Its members, without folders."""
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(infos) > MOST_FILES:
            raise _too_many(self.path)
        for info in infos:
            mode = info.external_attr >> 16
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise UserError(
                    f"{self.path} holds {info.filename!r}, which is a link or no file; fix: zip "
                    "the files themselves"
                )
        infos.sort(key=lambda info: info.filename)
        return [Member(self, info) for info in infos if not _hidden(info.filename)]

    def member(self, name: str) -> zipfile.ZipInfo:
        """The member of that path.

        Raises:
            UserError: there is none, or it is a folder.
        """
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            raise UserError(f"{self.path} has no member {name!r}; fix: check its path") from None
        if info.is_dir():
            raise UserError(f"{name!r} of {self.path} is a folder; fix: name an image in it")
        return info

    def names(self) -> KeysView[str]:
        """The paths of all members."""
        return self._zip.NameToInfo.keys()

    def content(self, name: str) -> bytes:
        """All that the member of that path holds."""
        target = io.BytesIO()
        self.copy(self.member(name), target)
        return target.getvalue()

    def read(self, info: zipfile.ZipInfo, size: int) -> bytes:
        """The first bytes of a member."""
        with self._opened(info) as stream:
            return stream.read(size)

    def copy(self, info: zipfile.ZipInfo, target: IO[bytes]) -> None:
        """Write a member to a file."""
        if info.file_size > image_memory():
            raise UserError(
                f"{info.filename!r} of {self.path} unpacks to {readable(info.file_size)}, beyond "
                f"the {readable(image_memory())} for images; fix: raise {VARIABLE}"
            )
        with self._opened(info) as stream:
            shutil.copyfileobj(stream, target)

    @contextmanager
    def _opened(self, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        try:
            now = os.stat(self.path)
        except OSError:
            raise _changed(self.path) from None
        if _stamp(now) != self.stamp:
            raise _changed(self.path)
        if self._process != os.getpid():
            self._open()  # a forked process moves the place at which its parent reads
        if info.flag_bits & 1:
            raise UserError(f"{self.path} is encrypted; fix: unpack it")
        try:
            with self._zip.open(info) as stream:
                yield stream
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError):
            raise UserError(
                f"{info.filename!r} of {self.path} is damaged; fix: copy the zip again"
            ) from None
        except (NotImplementedError, RuntimeError):
            raise UserError(
                f"{self.path} is packed in a way that Python does not unpack; fix: pack it again "
                "with deflate"
            ) from None


class Member(Entry):
    """A member of a zip."""

    __slots__ = ("_archive", "_info")

    def __init__(self, archive: Archive, info: zipfile.ZipInfo) -> None:
        super().__init__(f"{info.filename!r} of {archive.path}")
        self._archive = archive
        self._info = info

    @property
    def suffix(self) -> str:
        """See `Entry.suffix`."""
        return os.path.splitext(self._info.filename)[1]

    def state(self) -> Hashable:
        """See `Entry.state`."""
        return self._archive.stamp, self._info.header_offset, self._info.CRC

    def head(self, size: int) -> bytes:
        """See `Entry.head`."""
        return self._archive.read(self._info, size)

    @contextmanager
    def readable(self) -> Iterator[Path]:
        """See `Entry.readable`."""
        with tempfile.TemporaryFile() as copy:
            self._archive.copy(self._info, copy)
            copy.flush()
            path = f"/dev/fd/{copy.fileno()}"  # the file has no name of its own
            try:
                yield Path(path)
            except UserError as error:
                raise UserError(str(error).replace(path, self.name)) from error


def folder_files(folder: Path) -> list[tuple[str, Stamp | None]]:
    """The files of a folder and of those in it, by name, each with its stamp; None for what is no
    file, which is refused when it is opened."""
    found: list[tuple[str, Stamp | None]] = []
    folders = [str(folder)]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as scanned:
                listed = sorted(scanned, key=lambda each: each.name)
        except OSError as error:
            raise UserError(f"cannot read {here} ({error.strerror}); fix: check it") from error
        for each in listed:
            if each.name.startswith((".", "__MACOSX")) and _hidden(each.name):
                continue
            if each.is_symlink():
                raise UserError(
                    f"{each.path} is a link; fix: put the files themselves into the folder"
                )
            if each.is_dir():
                folders.append(each.path)
            else:
                found.append((each.path, _stamp_at(each)))
        if len(found) + len(folders) > MOST_FILES:
            raise _too_many(folder)
    return found


def directory_entries(path: Path) -> list[Entry]:
    """The images that a DICOMDIR names; they lie in its folder."""
    import pydicom

    quiet()
    entry = FileEntry(str(path), _stamp_at(str(path)))
    head = entry.head(4 * MOST_HEADER)
    if len(head) == 4 * MOST_HEADER:
        raise UserError(f"{path} is larger than any DICOMDIR; fix: name the folder instead")
    try:
        records = pydicom.dcmread(io.BytesIO(head), force=True).get("DirectoryRecordSequence") or ()
        names = [
            [str(part) for part in ([given] if isinstance(given, str) else given)]
            for given in (record.get("ReferencedFileID") for record in records)
            if given
        ]
    except Exception as error:  # its texts may quote the header
        raise UserError(
            f"{path} is a DICOMDIR that cannot be read ({type(error).__name__}); fix: name the "
            "folder instead"
        ) from error
    if len(names) > MOST_FILES:
        raise _too_many(path)
    found: list[Entry] = []
    missing = 0
    for parts in names:
        if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
            raise UserError(f"{path} names files outside of its folder; fix: name the folder")
        place = path.parent.joinpath(*parts)
        at = path.parent
        for part in parts:
            at = at / part
            if at.is_symlink():
                raise UserError(f"{at} is a link; fix: put the file itself there")
        if place.exists():
            found.append(
                FileEntry(str(place), _stamp_at(str(place)), f"{'/'.join(parts)!r} of {path}")
            )
        else:
            missing += 1
    if not names:
        raise UserError(f"{path} names no image; fix: name the folder instead")
    if missing:
        raise UserError(
            f"{path} names {len(names)} files, of which {missing} are missing; fix: copy them too, "
            "or name the folder instead"
        )
    return found


def _stamp_at(place: str | os.DirEntry[str]) -> Stamp | None:
    """The stamp of a regular file; None for what is none."""
    try:
        found = os.stat(place) if isinstance(place, str) else place.stat(follow_symlinks=False)
    except OSError:
        return None
    return _stamp(found) if stat.S_ISREG(found.st_mode) else None


def _hidden(name: str) -> bool:
    """Whether a file is one that systems put beside a user's files."""
    parts = name.replace("\\", "/").split("/")
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _too_many(path: Path) -> UserError:
    return UserError(f"{path} holds more than {MOST_FILES:,} files; fix: name a part of them")


def _changed(path: Path | str) -> UserError:
    return UserError(f"{path} changed while it was read; fix: open it again")


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns
