"""CSV and TSV files as columns of text: nothing in them counts as a number or a missing value."""

import csv
import io
import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from medgym.errors import UserError
from medgym.files import open_regular

if TYPE_CHECKING:
    import pyarrow

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""What may stand between two cells, and what it is called in a spec."""

_HEAD = 2**20
_BLOCK, _LARGEST = 2**20, 2**30
"""Bytes that are read at once; more of them where one row is longer than that."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def delimiter_of(path: Path, given: str | None = None) -> str:
    """What stands between the cells of a file: what is given, else what its first line has most of.

    Raises:
        UserError: no such delimiter is known.
    """
    if given is not None:
        known = {name: sign for sign, name in DELIMITERS.items()}
        if given not in DELIMITERS and given not in known:
            raise UserError(f"delimiter={given!r} is unknown; fix: write {' or '.join(known)}")
        return known.get(given, given)
    if path.suffix.lower() == ".tsv":
        return "\t"
    first = re.split(r"[\r\n]", re.sub(r'"[^"]*"', "", _head(path)), maxsplit=1)[0]
    return max(DELIMITERS, key=first.count)


def header(path: Path, delimiter: str) -> list[str]:
    """The names in the first line.

    Raises:
        UserError: there is none, or one stands there twice.
    """
    first = next(csv.reader(io.StringIO(_head(path), newline=""), delimiter=delimiter), [])
    # Spreadsheets write blank columns at the end of each row.
    names = [name if name.strip() else f"column {n}" for n, name in enumerate(first, start=1)]
    if not names:
        what = "begins with a blank line" if _head(path) else "is empty"
        raise UserError(f"{path} {what}; fix: write a line with the names of its columns first")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path} has two columns {name!r}; fix: rename one of them")
    return names


def batches(path: Path, delimiter: str) -> "Iterator[pyarrow.RecordBatch]":
    """The rows, all cells as text; a blank line is a row of blank cells.

    Raises:
        UserError: the file is not UTF-8, or a row has another number of cells than the first line.
    """
    import pyarrow

    names = header(path, delimiter)
    with open_regular(path, "table") as stream:
        largest = max(_BLOCK, min(os.fstat(stream.fileno()).st_size, _LARGEST))
    given = 0
    for block in (_BLOCK, largest):
        before = given
        try:
            for batch in _read(path, delimiter, names, block):
                skipped = min(before, batch.num_rows)
                before -= skipped
                if skipped < batch.num_rows:
                    given += batch.num_rows - skipped
                    yield batch.slice(skipped)
            return
        except pyarrow.ArrowInvalid as error:  # it says so of a row that is longer than a block
            if block == largest or "straddling" not in str(error):
                raise _fault(path, delimiter, len(names), str(error)) from error


def _read(
    path: Path, delimiter: str, names: list[str], block: int
) -> "Iterator[pyarrow.RecordBatch]":
    import pyarrow
    import pyarrow.csv

    with open_regular(path, "table") as stream:
        yield from pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(
                block_size=block, column_names=names, skip_rows_after_names=1
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pyarrow.string()), strings_can_be_null=False
            ),
        )


def check_closed(path: Path, last: list[str]) -> None:
    """Make sure that no quotation mark is left open, which would swallow all rows after it.

    Args:
        last: the cells of the last row.

    Raises:
        UserError: one is.
    """
    if any("\n" in cell or "\r" in cell for cell in last):
        with open_regular(path, "table") as stream:
            quotes = sum(block.count(b'"') for block in iter(lambda: stream.read(_HEAD), b""))
        if quotes % 2:
            first = last[0].splitlines()[0][:40] if last[0] else ""
            raise UserError(
                f"{path}: a quotation mark is not closed in the row that begins with {first!r}; "
                "fix: close it"
            )


def may_be_unclosed(batch: "pyarrow.RecordBatch") -> bool:
    """Whether a cell holds a line end and a quotation mark, as one does that swallowed a row."""
    import pyarrow.compute as compute

    for column in batch.columns:
        held = column.buffers()[2]
        text = b"" if held is None else held.to_pybytes()
        if b'"' in text and (b"\n" in text or b"\r" in text):
            both = r'(?s)".*[\r\n]|[\r\n].*"'
            if compute.any(compute.match_substring_regex(column, both)).as_py():
                return True
    return False


def check_quotes(path: Path, delimiter: str) -> None:
    """Make sure that no quotation mark is closed lines later, by one that opens another cell.

    Raises:
        UserError: text follows the mark that closes a cell of several lines.
    """
    with open_regular(path, "table") as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        csv.field_size_limit(2**31 - 1)
        rows = csv.reader(text, delimiter=delimiter, strict=True)
        for number in count(1):
            before = rows.line_num
            try:
                next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                if rows.line_num - before > 1:
                    raise UserError(
                        f"{path}: a quotation mark is not closed in row {number}, which begins on "
                        f"line {before + 1}; fix: close it, or double those inside a cell"
                    ) from error


def _head(path: Path) -> str:
    with open_regular(path, "table") as stream:
        data = stream.read(_HEAD)
    if data.startswith(_UTF16):
        raise UserError(f"{path} is UTF-16, not UTF-8, from line 1 on; fix: save it as UTF-8")
    # A character may be cut at the end; what is not UTF-8 is found when the rows are read.
    return data.decode("utf-8-sig", "replace")


def _fault(path: Path, delimiter: str, width: int, said: str) -> UserError:
    line = line_that_is_not_utf8(path)
    if line is not None:
        return UserError(
            f"{path} is not UTF-8: line {line}; fix: save it as UTF-8 (in a spreadsheet 'CSV "
            "UTF-8')"
        )
    with open_regular(path, "table") as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        csv.field_size_limit(2**31 - 1)
        rows = enumerate(csv.reader(text, delimiter=delimiter), 1)
        found = ((number, cells) for number, cells in rows if cells)
        for number, cells in found:
            if len(cells) != width:
                if next(found, None) is None:
                    check_closed(path, cells)
                return UserError(
                    f"{path}, row {number} has {len(cells)} cells, and the first row {width}; fix: "
                    "put a cell with a delimiter, a line end or a quotation mark in quotes"
                )
    return UserError(f"cannot read the table {path} ({said.splitlines()[0][:200]}); fix: check it")


def line_that_is_not_utf8(path: Path) -> int | None:
    """The number of the first line that is not UTF-8; None where all are."""
    with open_regular(path, "table") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None
