"""The command `medgym bench`: a benchmark by name, its rows as a table or as JSON."""

from collections.abc import Callable
from importlib import import_module
from typing import Annotated

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson
from medgym.errors import unknown

from .comparison import Comparison

BENCHMARKS = {
    "rollout": ("against_trl", "rollouts with tools against TRL's own tool loop (extra: train)"),
    "scale": ("scale", "2,000 episodes in flight in one process; two Ray workers (extra: ray)"),
    "memory": ("memory", "what 32 trajectories of 10 large views take, against holding them"),
    "pairs": (
        "pairs",
        "10,000 pairs from a stored run, in seconds and memory (extra: train)",
    ),
    "studies": (
        "studies",
        "the first view of a series of 2,000 slices, and scrolling (extras: nifti, slides)",
    ),
    "cases": (
        "cases",
        "a table of 100,000 cases and one of a million, beside datasets (extra: train)",
    ),
    "env": ("stepping", "an environment's step against the bare crop and resize"),
}
"""By name: the module, whose function of the same name measures, and what it is about."""


def bench(
    name: Annotated[
        str | None, typer.Argument(help="Which one; without it, all are listed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what medgym costs beside a rival, in the same run.

    Example: medgym bench env --json
    """
    if name is None:
        listed = [(each, about) for each, (_, about) in BENCHMARKS.items()]
        if as_json:
            print_json([{"name": each, "about": about} for each, about in listed])
        else:
            print_table(listed)
        return
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    rows = _measure(name)()
    if as_json:
        print_json([row.plain() for row in rows])
        return
    from .comparison import print_comparisons
    from .machine import description

    print_comparisons(rows, description())


def _measure(name: str) -> Callable[[], list[Comparison]]:
    module = BENCHMARKS[name][0]
    measure: Callable[[], list[Comparison]] = getattr(
        import_module(f".{module}", __package__), module
    )
    return measure
