"""`outcomes.parquet`: what became of each case of an evaluation, one row each."""

import io
from collections.abc import Iterable
from dataclasses import fields
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from medgym.arrow_columns import column_of
from medgym.errors import UserError
from medgym.storage.atomic import write_atomic

from .outcome import CaseOutcome
from .packed import PackedRows, in_order

if TYPE_CHECKING:
    import pyarrow

OUTCOMES = "outcomes.parquet"
"""The file's name in the folder of a run."""

FORMAT = b"1"
_FORMAT = b"medgym.outcomes"

ROW_GROUP = 2048
"""Rows of a row group, which become columns and are written at once."""


def write_outcomes(folder: Path, outcomes: Iterable[CaseOutcome]) -> Path:
    """Write the outcomes of a run in the order of their keys, in place of those of before.

    The same outcomes give the same bytes, in whatever order they come.
    """
    import pyarrow
    import pyarrow.parquet

    schema, stream, left = _schema(), io.BytesIO(), in_order(outcomes, attrgetter("key"))
    with pyarrow.parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        rows = list(islice(left, ROW_GROUP))
        while True:
            columns = [
                column_of([getattr(row, each.name) for row in rows], each.type) for each in schema
            ]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
            if not (rows := list(islice(left, ROW_GROUP))):
                break
    write_atomic(folder / OUTCOMES, stream.getvalue())
    return folder / OUTCOMES


def _schema() -> "pyarrow.Schema":
    """The columns: the fields of an outcome."""
    import pyarrow

    hints = get_type_hints(CaseOutcome)
    columns = [pyarrow.field(each.name, _kind(hints[each.name])) for each in fields(CaseOutcome)]
    return pyarrow.schema(columns, metadata={_FORMAT: FORMAT})


def _kind(hint: Any) -> "pyarrow.DataType":
    """The type of the column of a field: of texts, numbers, truth values, or lists of these."""
    import pyarrow

    if get_origin(hint) in (Union, UnionType):
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) in (list, tuple):
        return pyarrow.list_(_kind(get_args(hint)[0]))
    if get_origin(hint) is Literal:
        hint = str
    kinds = {str: "string", int: "int64", float: "float64", bool: "bool"}
    return pyarrow.type_for_alias(kinds[hint])


def read_outcomes(folder: Path) -> PackedRows[CaseOutcome] | None:
    """The outcomes that a run has stored, packed; None where it has none.

    Raises:
        UserError: the file is damaged, or a newer medgym wrote it.
    """
    import pyarrow
    import pyarrow.parquet

    path = folder / OUTCOMES
    if not path.exists():
        return None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if (file.schema_arrow.metadata or {}).get(_FORMAT) != FORMAT:
                raise UserError(f"{path} is of another medgym; fix: run medgym score {folder}")
            batches = file.iter_batches(batch_size=ROW_GROUP)
            return PackedRows(CaseOutcome(**row) for batch in batches for row in batch.to_pylist())
    except (pyarrow.ArrowException, OSError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); fix: run medgym score {folder}") from (
            error
        )
