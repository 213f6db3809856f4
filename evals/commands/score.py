"""The command `medgym score`: judge a stored run again, by today's scorers, without playing."""

from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson
from medgym.metrics.rate import Rate

from ..outcomes.figures import summary
from ..outcomes.stored import judged_again, run_and_policy
from ..outcomes.table import write_outcomes
from ..tables import interval


def score(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="The folder of a run; of a training also FOLDER:POLICY."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Judge the stored episodes of any run by today's scorers; nothing is played.

    The outcome of each case is written to `outcomes.parquet` in the run's folder; of a training it
    is only printed.

    Example: medgym score runs/prior
    """
    folder, policy = run_and_policy(run)
    outcomes = list(judged_again(folder, policy))
    written: Path | None = None if policy else write_outcomes(folder.path, outcomes)
    names = list(dict.fromkeys(outcome.benchmark for outcome in outcomes))
    figures = {
        name: summary([each for each in outcomes if each.benchmark == name]) for name in names
    }
    if as_json:
        print_json({"run": str(folder.path), "policy": policy, "benchmarks": figures})
        return
    for name, found in figures.items():
        if name:
            print(name)
        print_table([(key, _shown(value)) for key, value in found.items()])
    if written is not None:
        print(f"outcomes: {written}")


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "low" in value:
        return interval(Rate(**value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
