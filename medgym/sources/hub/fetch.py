"""Fetches a published data set into a folder: whole, or resumed by the same command."""

import fcntl
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any

from medgym.errors import UserError
from medgym.progress import progress
from medgym.sources.card import Card
from medgym.sources.hub.download import PARTS, checksum, download, part_of
from medgym.sources.hub.listing import Listing, RemoteFile, listed
from medgym.sources.hub.record import Record, read_record, write_licence

AT_ONCE = 4
"""Files that are fetched at the same time."""

SPARE = 64 * 2**20
"""Bytes that stay free on the disk."""

RECORDED = 2.0
"""Seconds between two records of what is there already."""

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class FetchPlan:
    """What is to be fetched.

    Attributes:
        card, folder, revision: as given to `plan`.
        listing: all files of the copy that are asked for.
        missing: those that are not there yet.
        bytes_left: that will come, as far as sizes are known.
        free: bytes on the disk.
    """

    card: Card
    folder: Path
    revision: str
    listing: Listing
    missing: tuple[RemoteFile, ...]
    bytes_left: int
    free: int

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        return sum(file.size or 0 for file in self.listing.files)


def plan(
    card: Card,
    folder: Path,
    revision: str | None = None,
    chosen: tuple[str, ...] = (),
    *,
    only: bool = False,
) -> FetchPlan:
    """What is missing of a data set in a folder, and whether the disk has room for it.

    Raises:
        UserError, RunError: as of `listed`; the disk has too little room; the folder holds another
            data set.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder; fix: name another one with --data")
    record = read_record(folder)
    if record is not None and record.name != card.name:
        raise UserError(
            f"{folder} holds a copy of {record.name}; fix: name another folder for {card.name}"
        )
    asked = revision or card.revision
    listing = listed(card, asked, chosen, only=only)
    missing = tuple(_missing(folder, listing, record))
    begun = sum(_size(part_of(folder, file)) for file in missing)
    left = max(0, sum(file.size or 0 for file in missing) - begun)
    above = folder
    while not above.exists():
        above = above.parent
    free = shutil.disk_usage(above).free
    if missing and left + SPARE > free:
        raise UserError(
            f"{card.name} needs {amount(left)} more in {folder}, and {amount(free)} are free; fix: "
            "make room, or name a folder on another disk with --data"
        )
    return FetchPlan(card, folder, asked, listing, missing, left, free)


def fetch(todo: FetchPlan) -> Record:
    """Fetch what is missing. The folder is a copy once this returns, and not before.

    Raises:
        UserError, RunError: as of `download`; another process fetches into the folder.
    """
    card, folder = todo.card, todo.folder
    parts = folder / PARTS
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}); fix: name another folder with --data"
        ) from error
    with _alone(card, parts):
        missing = {file.path for file in todo.missing}
        old = read_record(folder)
        record = Record(card.name, todo.revision, todo.listing.commit)
        if old is not None and old.commit == record.commit:
            record.files = {path: f for path, f in old.files.items() if path not in missing}
            # A whole copy stays one while optional files come.
            record.whole = old.whole and record.files.keys() == old.files.keys()
        for file in todo.listing.files:
            if file.path not in missing and file.path not in record.files:
                about = {"size": _size(folder / file.path), file.kind or "sha256": file.checksum}
                record.files[file.path] = about
        record.write(folder)
        write_licence(card, folder, record.commit)
        _fetch_all(todo, record)
        record.whole = True
        record.write(folder)
        shutil.rmtree(parts, ignore_errors=True)
    return record


def _fetch_all(todo: FetchPlan, record: Record) -> None:
    stop, lock, written = Event(), Lock(), time.monotonic()

    def one(file: RemoteFile) -> None:
        nonlocal written
        found = download(todo.card, todo.folder, file, advance, stop)
        with lock:
            record.files[file.path] = found
            if time.monotonic() - written > RECORDED:
                record.write(todo.folder)
                written = time.monotonic()

    with _quiet(), _megabytes(todo, lock) as advance, ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(one, file) for file in todo.missing]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            for each in done:
                each.result()
        finally:
            stop.set()
            for each in running:
                each.cancel()


@contextmanager
def _megabytes(todo: FetchPlan, lock: Lock) -> Iterator[Callable[[int], None]]:
    """Progress in megabytes, told in bytes from any thread."""
    total = sum(file.size or 0 for file in todo.missing)
    came = total - todo.bytes_left
    whole = -(-total // MEGABYTE) if all(f.size is not None for f in todo.missing) else None
    with progress(f"MB of {todo.card.name}", whole, done=came // MEGABYTE) as advance:

        def grown(n: int) -> None:
            nonlocal came
            with lock:
                before, came = came, came + n
                last = came == total and whole is not None
                step = (whole or 0 if last else came // MEGABYTE) - before // MEGABYTE
                if step:
                    advance(step)

        yield grown


@contextmanager
def _quiet() -> Iterator[None]:
    """The client's own bars and warnings are off: what it has to say is said in errors."""
    from huggingface_hub.utils import logging as client
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    level, shown = client.get_verbosity(), not are_progress_bars_disabled()
    client.set_verbosity(logging.ERROR)
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        client.set_verbosity(level)
        if shown:
            enable_progress_bars()


@contextmanager
def _alone(card: Card, parts: Path) -> Iterator[None]:
    """One process fetches into a folder at a time; the system ends the lock with the process."""
    with (parts / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process fetches {card.name} into {parts.parent}; fix: wait until it ends"
            ) from error
        except OSError:  # there are no locks on this file system
            pass
        yield


def _missing(folder: Path, listing: Listing, record: Record | None) -> Iterator[RemoteFile]:
    """The files that are not in their place with the published content.

    Raises:
        UserError: another one is there, which was not fetched.
    """
    known = record.files if record is not None else {}
    unsure = []
    for file in listing.files:
        about = known.get(file.path)
        if not (folder / file.path).exists():
            yield file
        elif about is None:
            unsure.append(file)
        elif not _is_same(folder, file, about):
            yield file
    if not unsure:
        return
    with progress("files looked at", len(unsure)) as advance:
        for file in unsure:
            if not _is_published(folder / file.path, file):
                raise UserError(
                    f"{folder / file.path} is another file than the one that is published, and was "
                    "not fetched by this command; fix: move it away, or name another folder with "
                    "--data"
                )
            advance()


def _is_same(folder: Path, file: RemoteFile, about: Mapping[str, Any]) -> bool:
    """Whether a file that was fetched is the one that is published, as its record says."""
    same = file.checksum is None or about.get(file.kind or "sha256") == file.checksum
    return (
        same and about["size"] == _size(folder / file.path) and file.size in (None, about["size"])
    )


def _is_published(path: Path, file: RemoteFile) -> bool:
    """Whether a file that was put there by hand is the one that is published."""
    if file.checksum is None:
        return file.size in (None, _size(path))
    return path.is_file() and checksum(path, file.kind or "sha256") == file.checksum


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def amount(size: int) -> str:
    """`785 MB`: bytes in the largest unit that they fill."""
    for unit, many in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= many:
            return f"{size / many:.3g} {unit}"
    return f"{size} bytes"
