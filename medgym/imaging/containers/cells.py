"""Cells of Parquet files that hold images, read so that memory stays bounded and threads go on.

The least that a Parquet file gives is a column of a row group, which may be gigabytes of images. A
small one is read whole. A large one is read in parts, from its beginning: the parts that follow are
read on from there, so that a walk through a file reads it once. A file may hold once what stands in
many of its rows (a dictionary), so that a small one is large in memory: it is read in parts too.
"""

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from medgym.errors import UserError

if TYPE_CHECKING:
    import pyarrow

PART = 4 * 2**20
"""Bytes of a column that are read at a time, or one cell where that is more."""

KEPT = 128 * 2**20
"""Bytes of columns that are kept, of all files together, and at least one part."""

WHOLE = KEPT // 4
"""Bytes of a column of a row group that is read at once."""

MOST_OPEN = 16
"""Files that are kept open."""

Stamp = tuple[int, int, int]


class _Part(NamedTuple):
    """Some cells of a column; `first` is the row of the first of them."""

    first: int
    cells: "pyarrow.Array"

    def has(self, row: int) -> bool:
        return 0 <= row - self.first < len(self.cells)


_lock = Lock()
_files: "OrderedDict[tuple[Path, Stamp, int], CellFile]" = OrderedDict()
_parts: "OrderedDict[tuple[int, str, int], tuple[CellFile, _Part]]" = OrderedDict()


def read_cell(path: Path, stamp: Stamp, column: str, row: int) -> Any:
    """A cell, as Python's objects.

    Args:
        stamp: what is another as soon as the file is another.

    Raises:
        UserError: it is no whole Parquet file, or has no such column or row.
    """
    key = path, stamp, os.getpid()  # a forked process has none of its parent's threads
    with _lock:
        file = _files.get(key)
    if file is None:
        file = CellFile(path)
    with _lock:
        file = _files.setdefault(key, file)
        _files.move_to_end(key)
        while len(_files) > MOST_OPEN:
            _files.popitem(last=False)
    return file.cell(column, row)


class CellFile:
    """A Parquet file whose cells are read one by one. Threads take turns at it.

    Raises:
        UserError: it is no whole Parquet file.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        self._path = path
        self._turn = Lock()
        self._faults = pyarrow.ArrowException, OSError
        try:
            self._file = pyarrow.parquet.ParquetFile(path, buffer_size=PART // 4, pre_buffer=False)
        except self._faults as error:
            raise self._broken(error) from error
        groups = map(self._file.metadata.row_group, range(self._file.num_row_groups))
        self._names = tuple(self._file.schema_arrow.names)
        self._ends = list(accumulate(group.num_rows for group in groups))
        self._reading: dict[str, tuple[int, int, Iterator[_Part]]] = {}

    def cell(self, column: str, row: int) -> Any:
        """A cell; see `read_cell`."""
        if column not in self._names:
            names = ", ".join(self._names)
            raise UserError(f"{self._path} has no column {column!r}, but {names}; fix: name one")
        if not 0 <= row < (self._ends[-1] if self._ends else 0):
            rows = self._ends[-1] if self._ends else 0
            raise UserError(f"{self._path} has {rows:,} rows, and no row {row}; fix: check the row")
        group = bisect_right(self._ends, row)
        with self._turn:
            part = _kept(self, column, group, row)
            if part is None:
                try:
                    part = self._read(column, group, row)
                except self._faults as error:
                    self._reading.pop(column, None)
                    raise self._broken(error) from error
        return part.cells[row - part.first].as_py()

    def _read(self, column: str, group: int, row: int) -> _Part:
        """Read on to the part that holds a row, or again from the start of its group."""
        at, following, parts = self._reading.get(column, (-1, 0, iter(())))
        if at != group or row < following:
            parts = self._parts(column, group)
        for part in parts:
            self._reading[column] = group, part.first + len(part.cells), parts
            if part.has(row):
                _keep(self, column, part)
                return part
        raise OSError(f"row group {group} ends before row {row}")

    def _parts(self, column: str, group: int) -> Iterator[_Part]:
        first = self._ends[group - 1] if group else 0
        count = self._ends[group] - first
        chunks = [
            chunk
            for chunk in map(
                self._file.metadata.row_group(group).column,
                range(self._file.metadata.num_columns),
            )
            if chunk.path_in_schema.partition(".")[0] == column
        ]
        size = sum(chunk.total_uncompressed_size for chunk in chunks)
        most = max(1, KEPT // max(1, *map(_repeated, chunks)))  # cells that fit, each the largest
        if size <= WHOLE and count <= most:
            cells = self._file.read_row_group(group, columns=[column], use_threads=False).column(0)
            yield _Part(first, cells)
            return
        batches = self._file.iter_batches(
            batch_size=max(1, min(most, count * PART // max(1, size))),
            row_groups=[group],
            columns=[column],
            use_threads=False,
        )
        for batch in batches:
            part = _Part(first, batch.column(0))
            if size <= WHOLE:  # of a small one no part is read again
                _keep(self, column, part)
            yield part
            first += batch.num_rows

    def _broken(self, error: BaseException) -> UserError:
        said = " ".join(str(error).split()).rstrip(".")
        return UserError(f"{self._path} is no whole Parquet file ({said}); fix: copy it again")


def _repeated(chunk: Any) -> int:
    """The most bytes of what the file holds once for many rows; 0 where there is no such part."""
    if not chunk.has_dictionary_page:
        return 0
    held = chunk.data_page_offset - chunk.dictionary_page_offset
    others = chunk.total_compressed_size - held  # unpacked they are not smaller
    return int(max(0, chunk.total_uncompressed_size - max(0, others)))


def _kept(file: CellFile, column: str, group: int, row: int) -> _Part | None:
    """The part that holds a row, where it is kept."""
    with _lock:
        for key, (owner, part) in reversed(_parts.items()):
            if owner is file and key[1] == column and part.has(row):
                _parts.move_to_end(key)
                return part
    return None


def _keep(file: CellFile, column: str, part: _Part) -> None:
    with _lock:
        _parts[id(file), column, part.first] = file, part
        while len(_parts) > 1 and sum(each.cells.nbytes for _, each in _parts.values()) > KEPT:
            _parts.popitem(last=False)
