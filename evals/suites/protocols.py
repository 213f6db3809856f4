"""The protocols of the suites that ship. They are ours: what papers did is mostly not published.

All are greedy. A picture may be zoomed into, with six replies; a volume may also be leafed through
and windowed, with ten. Intervals are over the groups of the cases.
"""

from collections.abc import Mapping

from medgym.suite import Suite

from .figures import published

VOLUME_TOOLS = ("slice", "window", "zoom")
VOLUME_TURNS = 10


def of_pictures(
    name: str,
    benchmarks: Mapping[str, str],
    sets: Mapping[str, str] | None = None,
    source: str = "",
) -> Suite:
    """A suite about pictures.

    Args:
        name, benchmarks, source: of the suite.
        sets: for each benchmark the data set of which figures are published; by default the first
            benchmark is of the set that is called as the suite is.
    """
    return Suite(
        name=name,
        benchmarks=benchmarks,
        source=source or f"medgym cases card {name}",
        published=published(_sets(name, benchmarks) if sets is None else sets),
    )


def of_volumes(
    name: str,
    benchmarks: Mapping[str, str],
    sets: Mapping[str, str] | None = None,
    source: str = "",
) -> Suite:
    """A suite about volumes; arguments as of `of_pictures`."""
    return Suite(
        name=name,
        benchmarks=benchmarks,
        tools=VOLUME_TOOLS,
        max_turns=VOLUME_TURNS,
        source=source or f"medgym cases card {name}",
        published=published(_sets(name, benchmarks) if sets is None else sets),
    )


def _sets(name: str, benchmarks: Mapping[str, str]) -> Mapping[str, str]:
    return {next(iter(benchmarks)): name}
