"""Tables of a user's own as columns of text: CSV, TSV, JSON lines, JSON and Parquet.

Text stays text: `None`, `NA` and `007` are what they look like, and a number of JSON is kept as it
is written. A large table lies in a temporary file that the system maps, not in memory.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgym.arrow_columns import column_of
from medgym.errors import UserError
from medgym.files import open_regular
from medgym.sources.arrow_rows import are_hashes_different, spooled, texts, where
from medgym.sources.own import delimited
from medgym.sources.own.parquet import ParquetImages, columns_of, text_batches

if TYPE_CHECKING:
    import numpy as np
    import pyarrow
    from numpy.typing import NDArray

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
"""What the name of a table ends in. It decides how the file is read."""

_BATCH = 10_000


Look = Callable[["pyarrow.RecordBatch"], "NDArray[np.bool_]"]
"""Says of each row of a batch whether it is seen to make a case."""


class TableFile:
    """One file.

    Attributes:
        path: as given.
        names: of its columns of text.
        images: its columns that hold images themselves, by name.
        delimiter: what stands between its cells; None where it is not CSV or TSV.
    """

    def __init__(self, path: Path, delimiter: str | None = None) -> None:
        self.path = path
        self.images: dict[str, ParquetImages] = {}
        self.delimiter: str | None = None
        self._ending = ending = path.suffix.lower()
        self._table: pyarrow.Table | None = None
        self._skipped: list[int] = []  # of each blank row, how many others are before it
        if ending not in ENDINGS:
            raise UserError(
                f"{path} is no table that can be read; fix: name a file that ends in "
                f"{', '.join(ENDINGS)}"
            )
        if delimiter is not None and ending not in (".csv", ".tsv"):
            raise UserError(f"{path} has no delimiter; fix: omit delimiter={delimiter}")
        if ending in (".csv", ".tsv"):
            self.delimiter = delimited.delimiter_of(path, delimiter)
            self.names = delimited.header(path, self.delimiter)
        elif ending == ".parquet":
            self.images, self.names = columns_of(path)
        else:
            self._table = _json_table(path, ending, self._skipped)
            self.names = self._table.column_names
        # A spreadsheet shows the header as row 1.
        self._unit = "line" if ending == ".jsonl" else "row"
        self._first = 2 if self.delimiter else 1
        self._may_be_unclosed = False

    def read(self, look: Look | None) -> "tuple[pyarrow.Table, NDArray[np.bool_] | None]":
        """The columns of text, and what `look` says of the rows."""
        import numpy as np

        good: list[NDArray[np.bool_]] = []

        def seen(batches: "Iterable[pyarrow.RecordBatch]") -> "Iterator[pyarrow.RecordBatch]":
            for batch in batches:
                if look is not None:
                    good.append(look(batch))
                yield batch

        if self._table is not None:
            table = self._table
            for _ in seen(table.to_batches()):
                pass
        elif self.delimiter is not None:
            whole = self._with_cells(delimited.batches(self.path, self.delimiter))
            table = _spooled(seen(whole), self.names)
            if table.num_rows:
                cells = table.slice(table.num_rows - 1).to_pylist()[0].values()
                delimited.check_closed(self.path, list(cells))
            if self._may_be_unclosed:
                delimited.check_quotes(self.path, self.delimiter)
        else:
            table = _spooled(seen(text_batches(self.path, self.names)), self.names)
        if look is None:
            return table, None
        found = np.concatenate(good) if good else np.zeros(0, np.bool_)
        for images in self.images.values():
            found[images.absent] = False
        return table, found

    def _with_cells(
        self, batches: "Iterable[pyarrow.RecordBatch]"
    ) -> "Iterator[pyarrow.RecordBatch]":
        """The same without blank rows, which are none, but count where rows are numbered."""
        import pyarrow.compute as compute

        nothing, first = texts(""), 0
        self._skipped, self._may_be_unclosed = [], False
        for batch in batches:
            self._may_be_unclosed |= delimited.may_be_unclosed(batch)
            blank = compute.is_in(batch.column(0), value_set=nothing)
            if compute.any(blank).as_py():
                for column in batch.columns[1:]:
                    blank = compute.and_(blank, compute.is_in(column, value_set=nothing))
                for row in where(blank).tolist():
                    self._skipped.append(first + row - len(self._skipped))
                first += batch.num_rows
                yield batch.filter(compute.invert(blank))
            else:
                first += batch.num_rows
                yield batch

    def number(self, row: int) -> int:
        """The number of a row as places name it."""
        return row + self._first + bisect_right(self._skipped, row)

    def place(self, row: int) -> str:
        """Where a row is: `row 12 of questions.csv`."""
        return f"{self._unit} {self.number(row)} of {self.path}"


class Rows:
    """The rows of one or several files with the same columns.

    Attributes:
        files: as the argument.
        names: of the columns, in order; those that hold images too.
        table: the columns of text, after `read`.
        good: the rows that were seen to make a case; None where all have to be looked at.
    """

    def __init__(self, files: Sequence[TableFile]) -> None:
        self.files = files
        first = files[0]
        for other in files[1:]:
            if set(other.names) != set(first.names) or set(other.images) != set(first.images):
                raise UserError(
                    f"{other.path} and {first.path} have other columns; fix: name one of them"
                )
        self.names = [*first.names, *first.images]
        self._starts = [0]
        self._columns: dict[str, pyarrow.ChunkedArray] = {}

    def read(self, look: Look | None = None) -> None:
        """Read the files whole.

        Raises:
            UserError: one is not UTF-8, or another kind of file than its name says.
        """
        import numpy as np
        import pyarrow

        found = [each.read(look) for each in self.files]
        names = self.files[0].names
        self.table = pyarrow.concat_tables([table.select(names) for table, _ in found])
        good = [each for _, each in found if each is not None]
        self.good = np.concatenate(good) if len(good) == len(found) else None
        self._columns = dict(zip(names, self.table.columns, strict=True))
        for table, _ in found:
            self._starts.append(self._starts[-1] + table.num_rows)

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def path(self) -> Path:
        """The first file, by which errors name the table."""
        return self.files[0].path

    def text(self, name: str, row: int) -> str:
        """A cell."""
        value: str = self._columns[name][row].as_py()
        return value

    def are_different(self, name: str) -> bool:
        """Whether all cells of a column differ."""
        import pyarrow.compute as compute

        column = self._columns[name]
        if are_hashes_different(compute.utf8_trim_whitespace(chunk) for chunk in column.chunks):
            return True
        different: int = compute.count_distinct(compute.utf8_trim_whitespace(column)).as_py()
        return different == len(self)

    def file_of(self, row: int) -> tuple[TableFile, int]:
        """The file that a row is of, and its number there, from 0."""
        number = bisect_right(self._starts, row) - 1
        return self.files[number], row - self._starts[number]

    def number(self, row: int) -> int:
        """The number of a row, as its file counts; of several files, from 0 on."""
        return self.files[0].number(row) if len(self.files) == 1 else row

    def place(self, row: int) -> str:
        """Where a row is."""
        file, own = self.file_of(row)
        return file.place(own)


def _spooled(batches: "Iterable[pyarrow.RecordBatch]", names: Sequence[str]) -> "pyarrow.Table":
    import pyarrow

    return spooled(batches, pyarrow.schema([(name, pyarrow.string()) for name in names]))


class _NewName(Exception):
    """A line has a key that none of those before it has."""


def _json_table(path: Path, ending: str, skipped: list[int]) -> "pyarrow.Table":
    def objects() -> Iterator[dict[str, Any]]:
        return _lines(path, skipped) if ending == ".jsonl" else _listed(path)

    names = dict.fromkeys(name for found in islice(objects(), _BATCH) for name in found)
    while True:
        try:
            return _spooled(_json_batches(objects(), names), list(names))
        except _NewName as found:
            names[str(found)] = None


def _json_batches(
    objects: Iterator[dict[str, Any]], names: dict[str, None]
) -> "Iterator[pyarrow.RecordBatch]":
    import pyarrow

    held: list[dict[str, Any]] = []

    def batch() -> "pyarrow.RecordBatch":
        texts = [[_as_text(each.get(name)) for each in held] for name in names]
        arrays = [column_of(each, pyarrow.string()) for each in texts]
        return pyarrow.RecordBatch.from_arrays(arrays, names=list(names))

    for found in objects:
        for name in found:
            if name not in names:
                raise _NewName(name)
        held.append(found)
        if len(held) == _BATCH:
            yield batch()
            held.clear()
    if held:
        yield batch()


def _lines(path: Path, skipped: list[int]) -> Iterator[dict[str, Any]]:
    skipped.clear()
    with open_regular(path, "table") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} is not UTF-8: line {number}; fix: save it as UTF-8"
                ) from error
            if not text.strip():
                skipped.append(number - 1 - len(skipped))
                continue
            yield _object(text, f"{path}, line {number}")


def _listed(path: Path) -> Iterator[dict[str, Any]]:
    with open_regular(path, "table") as stream:
        data = stream.read()
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_int=str, parse_float=str)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path} is not UTF-8: line {line}; fix: save it as UTF-8") from error
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); fix: correct it") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UserError(f"{path} is no list of objects; fix: write [{{...}}, {{...}}]")
    yield from found


def _object(text: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_int=str, parse_float=str)
    except ValueError as error:
        raise UserError(f"{place} is no JSON ({error}); fix: correct it") from error
    if not isinstance(found, dict):
        raise UserError(f'{place} is no JSON object; fix: write {{"question": ...}}')
    return found


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
