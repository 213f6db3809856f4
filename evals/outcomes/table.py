"""`outcomes.parquet`: what became of each case of an evaluation, one row each."""

import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from medgym.errors import UserError
from medgym.storage.atomic import write_atomic

from .outcome import CaseOutcome

OUTCOMES = "outcomes.parquet"
"""The file's name in the folder of a run."""

FORMAT = b"1"
_FORMAT = b"medgym.outcomes"


def write_outcomes(folder: Path, outcomes: Sequence[CaseOutcome]) -> Path:
    """Write the outcomes of a run in the order of their keys, in place of those of before."""
    import pyarrow
    import pyarrow.parquet

    ordered = sorted(outcomes, key=lambda outcome: outcome.key)
    columns = {
        field.name: [getattr(outcome, field.name) for outcome in ordered]
        for field in fields(CaseOutcome)
    }
    table = pyarrow.table(columns).replace_schema_metadata({_FORMAT: FORMAT})
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream, compression="zstd")
    write_atomic(folder / OUTCOMES, stream.getvalue())
    return folder / OUTCOMES


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
