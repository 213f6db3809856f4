"""A table of texts that is too large to hold: where its rows and one of its fields are in the file.

Fields are separated by tabs. One that begins with a quotation mark ends at the next lone one, and
may hold tabs, line ends and doubled quotation marks, as `csv` writes them.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from medgym.errors import UserError
from medgym.files import open_regular

_TAB, _QUOTE = b"\t", b'"'

MOST_ROW = 2**28
"""Bytes of a row. A larger one is a quotation mark that does not end."""


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        number: from 1, after the header.
        texts: its fields but the large one, by column.
        offset, length: where the large one is in the file, without quotation marks.
        digest: of what it holds.
        start: how the large field begins.
    """

    number: int
    texts: dict[str, str]
    offset: int
    length: int
    digest: str
    start: str


def table_rows(path: Path, large: str) -> Iterator[TableRow]:
    """The rows of a table, one after another; one is held at a time.

    Args:
        path: the file. Its first row has the names of the columns.
        large: the column whose fields are not kept.

    Raises:
        UserError: it has no such column, or a row has another number of fields.
    """
    with open_regular(path) as stream:
        header, names = 0, list[str]()
        for number, (begin, record) in enumerate(_records(stream, path)):
            spans = _spans(record)
            assert spans is not None
            if not number:
                names = [_text(record[a:b], path, number) for a, b in spans]
                if large not in names:
                    raise UserError(
                        f"{path} has no column {large!r}, but {', '.join(names)}; fix: fetch it "
                        "again"
                    )
                header = names.index(large)
                continue
            if len(spans) != len(names):
                raise UserError(
                    f"row {number} of {path} has {len(spans)} fields, and the header {len(names)}; "
                    "fix: fetch it again"
                )
            texts = {
                name: _text(record[a:b], path, number)
                for place, (name, (a, b)) in enumerate(zip(names, spans, strict=True))
                if place != header
            }
            first, last = spans[header]
            if record[first:last].startswith(_QUOTE):
                first, last = first + 1, last - 1
            field = memoryview(record)[first:last]
            yield TableRow(
                number,
                texts,
                begin + first,
                last - first,
                hashlib.blake2b(field, digest_size=8).hexdigest(),
                bytes(field[:80]).decode("ascii", "replace"),
            )


def read_span(path: Path, offset: int, length: int) -> bytes:
    """A part of a file; `UserError` where the file is shorter."""
    with open_regular(path) as stream:
        is_there = offset + length <= os.fstat(stream.fileno()).st_size
        stream.seek(offset if is_there else 0)
        data = stream.read(length if is_there else 0)
    if len(data) != length:
        raise UserError(f"{path} ends before byte {offset + length:,}; fix: fetch it again")
    return data


def _records(stream: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
    """Each row with the place where it begins, without its line end. Blank lines are passed by."""
    begin = 0
    record = b""
    for line in stream:
        record = record + line if record else line
        if _spans(record.rstrip(b"\r\n")) is None:
            if len(record) > MOST_ROW:
                break
            continue
        if record.strip():
            yield begin, record.rstrip(b"\r\n")
        begin += len(record)
        record = b""
    if record:
        raise UserError(
            f"the row at byte {begin:,} of {path} does not end: a quotation mark is missing, or "
            "the file is not whole; fix: fetch it again"
        )


def _spans(record: bytes) -> list[tuple[int, int]] | None:
    """Where each field of a row is; None where the last one does not end in it."""
    spans = []
    begin = 0
    while True:
        end = begin
        if record.startswith(_QUOTE, begin):
            end = _closing(record, begin + 1)
            if end < 0:
                return None
            end += 1
        tab = record.find(_TAB, end)
        if tab < 0:
            spans.append((begin, len(record)))
            return spans
        spans.append((begin, tab))
        begin = tab + 1


def _closing(record: bytes, begin: int) -> int:
    """Where the quotation mark is that ends a field; -1 where there is none."""
    while True:
        place = record.find(_QUOTE, begin)
        if place < 0 or record[place + 1 : place + 2] != _QUOTE:
            return place
        begin = place + 2


def _text(raw: bytes, path: Path, number: int) -> str:
    if raw.startswith(_QUOTE):
        raw = raw[1:].removesuffix(_QUOTE).replace(b'""', _QUOTE)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"row {number} of {path} is not UTF-8 ({error}); fix: fetch it again"
        ) from error
