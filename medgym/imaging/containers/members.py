"""One image of many in a file: a member of a zip, or a cell of a Parquet file.

`ImageRef.member` names it: in a zip by its path there, in a Parquet file as `COLUMN/ROW`, or
`COLUMN/ROW/ITEM` where a cell is a list. A cell is what `datasets.Image` writes (a struct with
`bytes`), or the encoded file's bytes alone.
"""

import base64
import binascii
import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from urllib.parse import unquote_to_bytes

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.containers.cells import Stamp, read_cell
from medgym.imaging.containers.held import HeldFile
from medgym.imaging.series.entries import Archive

DATA = "data:"
"""How the URI begins that holds an image itself (RFC 2397)."""

_MOST_OPEN = 8
"""Zips whose lists of members are kept."""

_MOST_DIGITS = 40
"""In the number of a row and of an item."""

_opening = Lock()
_archives: OrderedDict[tuple[Path, Stamp, int], Archive] = OrderedDict()


def held_member(path: Path, member: str) -> HeldFile:
    """A member of a zip, or a cell of a Parquet file, as a file.

    Raises:
        UserError: there is no such file or member, or it cannot be read.
    """
    with open_regular(path, "file of images") as stream:
        head, found = stream.read(4), os.fstat(stream.fileno())
    stamp = found.st_size, found.st_mtime_ns, found.st_ino
    held = HeldFile(f"{member!r} of {path}")
    if head == b"PAR1":
        held.file.write(_cell(path, stamp, member))
    elif head.startswith(b"PK"):
        archive = _archive(path, stamp)
        archive.copy(archive.member(member), held.file)
    else:
        raise UserError(
            f"{path} is neither a zip nor a Parquet file, so it has no {member!r}; fix: leave the "
            "member out"
        )
    held.file.flush()
    return held


def held_data(uri: str) -> HeldFile:
    """The file that a data URI holds.

    Raises:
        UserError: it is no data URI.
    """
    head, comma, rest = uri.removeprefix(DATA).partition(",")
    if not comma:
        raise UserError(f"the image {uri[:40]!r} has no data; fix: write data:image/png;base64,...")
    data = unquote_to_bytes(rest)
    if head.endswith(";base64"):
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise UserError(
                f"the image {uri[:40]!r} is no base64 ({error}); fix: encode it again"
            ) from error
    return HeldFile("an image in memory", data)


def _archive(path: Path, stamp: Stamp) -> Archive:
    """A zip, whose list of members is read once. Several threads may read its members."""
    key = path, stamp, os.getpid()  # a forked process moves the place at which its parent reads
    with _opening:
        archive = _archives.get(key)
        if archive is None:
            archive = _archives[key] = Archive(path)
        _archives.move_to_end(key)
        while len(_archives) > _MOST_OPEN:
            _archives.popitem(last=False)
    return archive


def _cell(path: Path, stamp: Stamp, member: str) -> bytes:
    column, _, place = member.partition("/")
    row, _, item = place.partition("/")
    if not row.isdecimal() or (item and not item.isdecimal()) or len(place) > _MOST_DIGITS:
        raise UserError(f"{path} has no cell {member!r}; fix: write COLUMN/ROW, or COLUMN/ROW/ITEM")
    cell = read_cell(path, stamp, column, int(row))
    if item:
        items = cell if isinstance(cell, list) else []
        cell = items[int(item)] if int(item) < len(items) else None
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes) or not data:
        raise UserError(f"{member!r} of {path} holds no image; fix: check the column and the row")
    return data
