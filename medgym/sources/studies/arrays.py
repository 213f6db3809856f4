"""Arrays in .npy and .npz files, mapped from the disk: only what is shown is read.

An .npz file is a zip of .npy files. A member that is stored as it is can be mapped where it lies. A
packed one is unpacked once: into the cache folder where many images share an array, else into a
file without a name, which lasts as long as the array.
"""

import hashlib
import os
import secrets
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.files import open_regular

T = TypeVar("T")

_CHUNK = 8 * 2**20
_LOCAL_HEADER = struct.Struct("<26xHH")
"""What a member of a zip begins with: the lengths of its name and of what follows the name."""

Layout = tuple[tuple[int, ...], bool, np.dtype[Any]]
"""The shape of an array, whether its first axis lies closest in the file, and the type."""


def cache_folder() -> Path:
    """Where arrays are unpacked: `medgym/arrays` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "medgym" / "arrays"


def shared_array(path: Path, key: str) -> NDArray[Any]:
    """An array that many images share, mapped. It stays unpacked in the cache folder.

    Raises:
        UserError: there is no such file or array, or it cannot be read.
    """
    return _mapped(path, _stamp(path), key)


def own_array(path: Path, key: str) -> NDArray[Any]:
    """An array that is one study, mapped. What is unpacked goes when the array does.

    Raises:
        UserError: as of `shared_array`.
    """
    return _reading(path, key, lambda: _array(path, key, lambda archive: _unnamed(archive, key)))


def small_array(path: Path, key: str) -> NDArray[Any]:
    """An array, read as a whole: labels.

    Raises:
        UserError: as of `shared_array`.
    """

    def read() -> NDArray[Any]:
        with _archive(path) as archive, archive.open(_member(archive, key)) as stream:
            found: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
            return found

    return _reading(path, key, read)


def shape_of(path: Path, key: str) -> tuple[int, ...]:
    """The shape of an array, from its header.

    Raises:
        UserError: as of `shared_array`.
    """

    def read() -> tuple[int, ...]:
        if path.suffix == ".npy":
            with open_regular(path, "array") as stream:
                return _layout(stream)[0]
        with _archive(path) as archive, archive.open(_member(archive, key)) as stream:
            return _layout(stream)[0]

    return _reading(path, key, read)


def _stamp(path: Path) -> tuple[int, int]:
    with open_regular(path, "array") as stream:
        found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=16)
def _mapped(path: Path, stamp: tuple[int, int], key: str) -> NDArray[Any]:
    """See `shared_array`; a file that changed has another stamp."""
    said = f"{path.resolve()} {stamp}".encode(errors="surrogateescape")
    name = hashlib.blake2b(said, digest_size=12).hexdigest()
    kept = cache_folder() / f"{path.stem}-{name}" / f"{key}.npy"
    return _reading(path, key, lambda: _array(path, key, lambda archive: _kept(archive, key, kept)))


def _array(path: Path, key: str, unpack: Callable[[zipfile.ZipFile], Any]) -> NDArray[Any]:
    if path.suffix == ".npy":
        with open_regular(path, "array") as stream:
            return _map(stream, path)
    with _archive(path) as archive:
        member = archive.getinfo(_member(archive, key))
        if member.compress_type == zipfile.ZIP_STORED:
            with open_regular(path, "array") as stream:
                stream.seek(member.header_offset)
                skipped = sum(_LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size)))
                stream.seek(member.header_offset + _LOCAL_HEADER.size + skipped)
                return _map(stream, path)
        found: NDArray[Any] = unpack(archive)
        return found


def _kept(archive: zipfile.ZipFile, key: str, kept: Path) -> NDArray[Any]:
    """A member as a file of the cache. It is made again where it is not there, or not whole."""
    try:
        with kept.open("rb") as stream:
            return _map(stream, kept)
    except (OSError, ValueError):
        _unpack(archive, key, kept)
    with kept.open("rb") as stream:
        return _map(stream, kept)


def _unpack(archive: zipfile.ZipFile, key: str, kept: Path) -> None:
    temporary = kept.parent / f".tmp-{secrets.token_hex(8)}"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            _copy(archive, key, stream)
        os.replace(temporary, kept)
    except OSError as error:
        size = archive.getinfo(_member(archive, key)).file_size
        raise UserError(
            f"cannot unpack {key} of {_name(archive)} ({size:,} bytes) into {kept.parent} "
            f"({error.strerror}); fix: make room there, or set XDG_CACHE_HOME"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _unnamed(archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    with tempfile.TemporaryFile() as stream:
        _copy(archive, key, stream)
        stream.flush()
        stream.seek(0)
        return _map(stream, Path(_name(archive)))


def _copy(archive: zipfile.ZipFile, key: str, to: IO[bytes]) -> None:
    with archive.open(_member(archive, key)) as stream:
        while chunk := stream.read(_CHUNK):
            to.write(chunk)


def _map(stream: IO[bytes], path: Path) -> NDArray[Any]:
    shape, is_fortran, dtype = _layout(stream)
    order: Any = "F" if is_fortran else "C"
    return np.memmap(stream, dtype, "r", stream.tell(), shape, order)


def _layout(stream: IO[bytes]) -> Layout:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        layout: Layout = np.lib.format.read_array_header_1_0(stream)
    else:
        layout = np.lib.format.read_array_header_2_0(stream)
    if layout[2].hasobject:
        raise ValueError("it holds Python objects")
    return layout


def _archive(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(open_regular(path, "array"))


def _member(archive: zipfile.ZipFile, key: str) -> str:
    name = f"{key}.npy"
    if name not in archive.namelist():
        held = ", ".join(each.removesuffix(".npy") for each in archive.namelist()[:8])
        raise UserError(f"{_name(archive)} has no array {key!r}, but {held}; fix: fetch it again")
    return name


def _name(archive: zipfile.ZipFile) -> str:
    return str(getattr(archive.fp, "name", archive.filename))


def _reading(path: Path, key: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, struct.error) as error:
        raise UserError(
            f"{path} holds no whole array {key!r} ({error}); fix: fetch it again"
        ) from error
