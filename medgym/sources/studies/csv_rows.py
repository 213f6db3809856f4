"""The rows of a large CSV file, as text, in columns."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.sources.studies.files import check_keys

Row = dict[str, Any]


class CsvRows(Sequence[Row]):
    """The rows of a CSV file: each cell is text as it stands, and `row` the number of the row.

    Args:
        needed: columns that the file has to have.

    Raises:
        UserError: it cannot be read, or lacks a column.
    """

    def __init__(self, path: Path, needed: Iterable[str]) -> None:
        import pyarrow
        import pyarrow.csv

        names = _header(path)
        check_keys(dict.fromkeys(names), needed, str(path))
        try:
            self._table = pyarrow.csv.read_csv(
                path,
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pyarrow.string()), strings_can_be_null=False
                ),
            ).combine_chunks()
        except (pyarrow.ArrowException, OSError) as error:
            raise UserError(
                f"{path} is no whole CSV file ({error}); fix: fetch it again"
            ) from error

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        number = range(len(self))[index]
        row: Row = self._table.slice(number, 1).to_pylist()[0]
        return {**row, "row": number}

    def different(self, column: str) -> int:
        """How many different values a column has."""
        import pyarrow.compute

        return int(pyarrow.compute.count_distinct(self._table[column]).as_py())


def _header(path: Path) -> list[str]:
    with open_regular(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        try:
            names = next(csv.reader(text), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} is no CSV file ({error}); fix: fetch it again") from error
    if not names:
        raise UserError(f"{path} is empty; fix: fetch it again")
    return names
