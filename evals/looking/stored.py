"""The arms of a stored evaluation: what it calls them, and the outcomes of one of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from medgym.errors import unknown
from medgym.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from ..outcomes.outcome import CaseOutcome


def arm_name(benchmark: str, arm: str) -> str:
    """The name of a benchmark played in an arm."""
    return f"{benchmark}-{arm}" if benchmark else arm


def arms_of(folder: RunFolder) -> tuple[str, ...]:
    """The arms in which an evaluation was played; none where it was played in one way."""
    arms = folder.asked.get("arms")
    return tuple(map(str, arms)) if isinstance(arms, list) else ()


def require_arm(arm: str, arms: Sequence[str], folder: RunFolder) -> None:
    """`UserError` where an evaluation was not played in an arm."""
    if arm not in arms:
        raise unknown(f"arm of {folder.path}", arm, arms)


def outcomes_in(
    outcomes: "Iterable[CaseOutcome]", arm: str, arms: Sequence[str]
) -> "Iterator[CaseOutcome]":
    """The outcomes of one arm, under the names of the benchmarks without it.

    Args:
        outcomes: of a whole evaluation. arms: in which it was played.
    """
    for outcome in outcomes:
        benchmark, _, played = outcome.benchmark.rpartition("-")
        if played == arm and played in arms:
            yield replace(outcome, benchmark=benchmark)
