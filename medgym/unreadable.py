"""Cases whose images cannot be read: each costs itself alone, and is counted and named."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from medgym.commands.printing import safe_line
from medgym.errors import RunError
from medgym.failures import unreadable_of
from medgym.trajectory import Trajectory

NAMED = 5
"""How many unreadable cases are named; the others are counted."""


class UnreadableCases:
    """The unreadable cases among those that are played.

    Args:
        of: how many cases are played.

    Attributes:
        reasons: why each one cannot be read, by its id.
    """

    def __init__(self, of: int) -> None:
        self.of = of
        self.reasons: dict[str, str] = {}

    def add(self, trajectory: Trajectory) -> None:
        """Take note of an episode, if it is one of an unreadable case.

        Raises:
            RunError: most cases are unreadable, so something is wrong with all of them.
        """
        reason = unreadable_of(trajectory.failure)
        if reason is None:
            return
        self.reasons[trajectory.case_id] = reason
        if 2 * len(self.reasons) > self.of:
            raise most_unreadable(self.reasons, self.of)


def most_unreadable(reasons: Mapping[str, str], of: int) -> RunError:
    """The error that ends a run where so many of its cases are unreadable that it says nothing."""
    first, why = next(iter(reasons.items()))
    why, _, fix = why.partition("; fix: ")
    return RunError(
        f"the images of {len(reasons)} of {of} cases cannot be read, the first of {first} ({why}); "
        f"fix: {fix or 'correct the images'}, or the folder of images that the cases name"
    )


def watched(stream: Iterator[Trajectory], of: int) -> Iterator[Trajectory]:
    """The same stream, which ends with an error once most of its cases are unreadable."""
    cases = UnreadableCases(of)
    with closing(stream):  # type: ignore[type-var]
        for trajectory in stream:
            cases.add(trajectory)
            yield trajectory


def as_figures(reasons: Mapping[str, str], of: int) -> dict[str, Any]:
    """How many cases are unreadable, and which, as `results.json` and manifests hold it; nothing
    where there is none."""
    if not reasons:
        return {}
    first = [{"case": case, "why": why} for case, why in list(reasons.items())[:NAMED]]
    return {"count": len(reasons), "of": of, "first": first}


def unreadable_rows(reasons: Mapping[str, str], of: int) -> list[tuple[str, str]]:
    """Rows of a table: how many cases cannot be read, the first ones of them, and why."""
    if not reasons:
        return []
    first = [
        (f"  {safe_line(case)}", safe_line(why.partition("; fix: ")[0]))
        for case, why in list(reasons.items())[:NAMED]
    ]
    return [("left out: unreadable", f"{len(reasons)} of {of}"), *first]
