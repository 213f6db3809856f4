"""The command `medgym credit`: what each turn of stored episodes was worth."""

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_columns, print_json, safe_line
from medgym.commands.shared_options import AsJson
from medgym.errors import UserError
from medgym.metrics.credit import rows
from medgym.storage.run_folder import RunFolder

LONGEST = 60
"""Characters of a reply that are printed."""


def credit(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="A run, and runs whose episodes were branched off its own."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what each turn of stored episodes was worth, by the rewards of those that went through.

    The value of a state is the mean reward of the episodes that were played from it; a turn's
    advantage is the value after it less the value before it.

    Example: medgym credit runs/random runs/branches
    """
    kept = [each for path in runs for each in RunFolder.open(path).trajectories]
    found = rows(kept)
    if not found:
        raise UserError(f"no episode of one policy in {runs[0]}; fix: name another run")
    if as_json:
        print_json(
            [
                {
                    "case": case_id,
                    "turn": row.turn,
                    "reply": row.text,
                    "episodes": row.episodes,
                    "before": row.before,
                    "after": row.after,
                    "advantage": row.advantage,
                }
                for case_id, row in found
            ]
        )
        return
    for case_id, several in groupby(found, key=lambda pair: pair[0]):
        print(safe_line(case_id))
        lines = [
            (
                f"  {row.turn}  {safe_line(row.text, LONGEST)}",
                str(row.episodes),
                *map(_figure, (row.before, row.after, row.advantage)),
            )
            for _, row in several
        ]
        print_columns(("  turn and reply", "episodes", "before", "after", "advantage"), lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
