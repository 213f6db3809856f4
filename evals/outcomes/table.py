"""`outcomes.parquet`: what became of each case of an evaluation, one row each."""

import io
from collections.abc import Iterable
from dataclasses import Field, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from medgym.errors import UserError
from medgym.storage.atomic import write_atomic

from .outcome import CaseOutcome

if TYPE_CHECKING:
    import pyarrow

OUTCOMES = "outcomes.parquet"
"""The file's name in the folder of a run."""

FORMAT = b"1"
_FORMAT = b"medgym.outcomes"

TOGETHER = 1024
"""Outcomes that become columns at once."""


def write_outcomes(folder: Path, outcomes: Iterable[CaseOutcome]) -> Path:
    """Write the outcomes of a run in the order of their keys, in place of those of before.

    The same outcomes give the same bytes, in whatever order they come.
    """
    import pyarrow
    import pyarrow.parquet

    schema = _schema()
    tables, left = [schema.empty_table()], iter(outcomes)
    while rows := list(islice(left, TOGETHER)):
        columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
        tables.append(pyarrow.table(columns, schema))
    keys = [(name, "ascending") for name in ("benchmark", "case", "member")]
    table = pyarrow.concat_tables(tables).sort_by(keys).combine_chunks()
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream, compression="zstd")
    write_atomic(folder / OUTCOMES, stream.getvalue())
    return folder / OUTCOMES


def _schema() -> "pyarrow.Schema":
    """The columns: the fields of an outcome."""
    import pyarrow

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(),
             bool: pyarrow.bool_()}  # fmt: skip
    hints = get_type_hints(CaseOutcome)

    def kind(field: Field[Any]) -> pyarrow.DataType:
        hint = hints[field.name]
        plain = {type(each) if isinstance(each, str) else each for each in _plain(hint)}
        (one,) = plain - {type(None)}
        return kinds[one]

    columns = [pyarrow.field(field.name, kind(field)) for field in fields(CaseOutcome)]
    return pyarrow.schema(columns, metadata={_FORMAT: FORMAT})


def _plain(hint: Any) -> tuple[Any, ...]:
    """The types, or the texts of a `Literal`, that a field may have."""
    return get_args(hint) or (hint,)


def read_outcomes(folder: Path) -> list[CaseOutcome] | None:
    """The outcomes that a run has stored; None where it has none.

    Raises:
        UserError: the file is damaged, or a newer medgym wrote it.
    """
    import pyarrow
    import pyarrow.parquet

    path = folder / OUTCOMES
    if not path.exists():
        return None
    try:
        table = pyarrow.parquet.read_table(path)
        if (table.schema.metadata or {}).get(_FORMAT) != FORMAT:
            raise UserError(f"{path} is of another medgym; fix: run medgym score {folder}")
        return [CaseOutcome(**row) for row in table.to_pylist()]
    except (pyarrow.ArrowException, OSError, TypeError) as error:
        raise UserError(f"{path} cannot be read ({error}); fix: run medgym score {folder}") from (
            error
        )
