"""The command `medgym bench`: a benchmark by name, its rows as a table or as JSON."""

from collections.abc import Callable
from importlib import import_module
from typing import Annotated

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import AsJson
from medgym.errors import UserError, unknown

from .comparison import Comparison

BENCHMARKS = {
    "rollout": ("against_trl", "rollouts with tools against TRL's own tool loop (extra: train)"),
    "scale": ("scale", "2,000 episodes in flight in one process; two Ray workers (extra: ray)"),
    "memory": ("memory", "what 32 trajectories of 10 large views take, against holding them"),
    "evaluation": ("evaluation", "what an evaluation of 20,000 cases takes, against holding it"),
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
    "serving": (
        "serving.measure",
        "an evaluation through a server, beside a plain client and other libraries (extra: openai)",
    ),
    "env": ("stepping", "an environment's step against the bare crop and resize"),
    "tools": ("tools", "calls of tools a second, each beside its library by itself"),
}
"""By name: the module, whose function of the same name (or of its folder's) measures, and what it
is about."""


def bench(
    name: Annotated[
        str | None, typer.Argument(help="Which one; without it, all are listed.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Argument(help="Of serving: the server, http://HOST:PORT/v1#MODEL."),
    ] = None,
    verifiers: Annotated[
        str | None,
        typer.Option("--verifiers", metavar="PYTHON", help="Of serving: a Python that has it."),
    ] = None,
    inspect: Annotated[
        str | None,
        typer.Option("--inspect", metavar="PYTHON", help="Of serving: a Python with inspect_ai."),
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
    rows = _measured(name, url, {"verifiers": verifiers, "inspect": inspect})
    if as_json:
        print_json([row.plain() for row in rows])
        return
    from .comparison import print_comparisons
    from .machine import description

    print_comparisons(rows, description())


def _measured(name: str, url: str | None, rivals: dict[str, str | None]) -> list[Comparison]:
    """The rows of a benchmark; only `serving` is told what to measure."""
    if name == "serving":
        if url is None:
            raise UserError("bench serving needs a server; fix: add http://HOST:PORT/v1#MODEL")
        from .serving.measure import serving

        return serving(url, rivals)
    given = [url, *(f"--{option}" for option, python in rivals.items() if python is not None)]
    if odd := [each for each in given if each is not None]:
        raise UserError(f"bench {name} takes no {odd[0]}; fix: omit it")
    return _measure(name)()


def _measure(name: str) -> Callable[[], list[Comparison]]:
    module = BENCHMARKS[name][0]
    measure: Callable[[], list[Comparison]] = getattr(
        import_module(f".{module}", __package__), module.partition(".")[0]
    )
    return measure
