"""Downloads one file: resumable, held to its checksum, and in its place only when it is whole."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from medgym.errors import RunError
from medgym.sources.card import Card
from medgym.sources.hub.listing import RemoteFile, reaching
from medgym.storage.atomic import sync

PARTS = ".medgym-parts"
"""The folder in a copy where files lie that are not whole yet."""


class Stopped(Exception):
    """Another download failed, or the user asked to stop."""


class _Part(io.BufferedWriter):
    """A file that is not whole yet; it says how it grows, and stops when it is asked to."""

    def __init__(self, path: Path, grown: Callable[[int], None], stop: Event) -> None:
        path.touch()
        super().__init__(io.FileIO(path, "r+"))
        self.seek(0, os.SEEK_END)
        self._grown, self._stop = grown, stop

    def write(self, data: Any) -> int:
        if self._stop.is_set():
            raise Stopped
        written = super().write(data)
        self._grown(written)
        return written

    def truncate(self, size: int | None = None) -> int:
        before = os.fstat(self.fileno()).st_size
        after = super().truncate(size)
        self._grown(after - before)
        return after


def part_of(folder: Path, file: RemoteFile) -> Path:
    """Where a file of this very content lies until it is whole."""
    content = file.checksum or file.tag or file.url
    key = hashlib.sha256(f"{file.path}\0{content}".encode()).hexdigest()[:32]
    return folder / PARTS / key


def download(
    card: Card, folder: Path, file: RemoteFile, grown: Callable[[int], None], stop: Event
) -> dict[str, str | int]:
    """Fetch a file into its place in a copy; its size and checksum.

    Args:
        card: of the data set.
        folder: the copy.
        file: what is fetched.
        grown: is told by how many bytes the file grew; less than 0 where it begins again.
        stop: ends the download, which can be resumed.

    Raises:
        RunError: the server or the network failed, or other bytes came than were published.
        UserError: a token is missing.
    """
    part = part_of(folder, file)
    if part.exists() and (file.size is None or part.stat().st_size > file.size):
        part.unlink()  # without a size nobody can tell whether it is whole
    _fill(card, part, file, grown, stop)
    kind = file.kind or "sha256"
    found = checksum(part, kind)
    if file.checksum is not None and found != file.checksum:
        part.unlink()
        raise RunError(
            f"{file.path} of {card.name} came with other bytes than were published ({kind} "
            f"{found[:12]}..., expected {file.checksum[:12]}...), so it is not kept; fix: run the "
            "same command again, which fetches it again"
        )
    size = part.stat().st_size
    place = folder / file.path
    place.parent.mkdir(parents=True, exist_ok=True)
    sync(part)
    os.replace(part, place)
    sync(place.parent)
    return {"size": size, kind: found}


def _fill(
    card: Card, part: Path, file: RemoteFile, grown: Callable[[int], None], stop: Event
) -> None:
    """Fetch what is missing of a file; again after the network failed, as long as it grows."""
    import httpx2
    from huggingface_hub.file_download import http_get

    while True:
        with _Part(part, grown, stop) as stream:
            before = stream.tell()
            if before and before == file.size:
                return
            try:
                with reaching(card, "", file.url):
                    http_get(
                        file.url,
                        stream,
                        resume_size=before,
                        headers=dict(file.headers),
                        expected_size=file.size,
                        displayed_filename=file.path,
                    )
                return
            except RunError as error:
                lost = isinstance(error.__cause__, httpx2.TransportError)
                if not lost or stream.tell() <= before:
                    raise
            except OSError as error:
                if error.errno is not None:
                    raise
                raise RunError(
                    f"{file.url} ended after {stream.tell():,} bytes (expected {file.size or 0:,});"
                    " fix: run the same command again, which resumes"
                ) from error


def checksum(path: Path, kind: str) -> str:
    """A file's checksum: `sha256`, `md5`, or `git` for the id that git gives it."""
    digest = hashlib.new("sha1" if kind == "git" else kind, usedforsecurity=False)
    with path.open("rb") as stream:
        if kind == "git":
            digest.update(b"blob %d\0" % os.fstat(stream.fileno()).st_size)
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()
