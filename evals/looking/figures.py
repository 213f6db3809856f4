"""Figures of looking: are answers grounded in the gold regions, and what did the looks take?

Only cases with gold regions say whether an answer is grounded. Where no episode made a call, there
is nothing to say. Shares of calls and of looks are over these, with intervals over the cases'
groups.
"""

from collections import Counter
from collections.abc import Iterable
from operator import itemgetter
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.metrics.grounding import CALL_FAULTS
from medgym.metrics.mean_rate import mean_rate
from medgym.metrics.rate import Rate

from ..outcomes.columns import Floats, NumberColumns
from ..outcomes.outcome import CaseOutcome
from ..outcomes.packed import in_order

RIGHT_SHOWN = "right answers, region looked at"
WRONG_SHOWN = "wrong answers, region looked at"
WRONG_PLACE = "right for the wrong place"
BLIND = "right without a look"
IOU = "best look, IoU with a region"
COVERAGE = "regions looked at, by area"
NEEDED = "calls needed"
BEYOND = "calls beyond those needed"
REPEATED = "looks that showed nothing new"
FAILED = "calls that failed"

NAMES = (
    RIGHT_SHOWN, WRONG_SHOWN, WRONG_PLACE, BLIND, IOU, COVERAGE, NEEDED, BEYOND, REPEATED, FAILED,
    *(f"{FAILED}: {fault}" for fault in CALL_FAULTS),
)  # fmt: skip
"""All names of `looking_figures`, in their order."""

NUMBERS = (
    "looked", "hit", "look_iou", "look_coverage", "calls", "calls_needed", "looks",
    "repeated_looks",
)  # fmt: skip
"""The columns of an outcome that are read as they are."""

Marks = NDArray[np.bool_]
"""Of each episode whether it is meant."""


def looking_figures(outcomes: Iterable[CaseOutcome]) -> dict[str, Rate | float]:
    """How the looks of some episodes and the gold regions fit, and what the looks took.

    The shares of right and of wrong answers whose looks showed a whole gold region; of right
    answers whose looks showed none, and of those without a look; the best IoU of a look with a
    region, and how much of the regions the looks showed, as means over cases; how many calls a case
    needs, and which share of calls was beyond that, failed, and showed nothing new.
    """
    rows = (_row(each) for each in outcomes if each.is_counted)
    # Sorted, so that the order in which episodes finish changes no digit.
    ordered = in_order(rows, key=itemgetter(0, 1, 2))
    counted = _Episodes((unit, *numbers) for unit, _, _, *numbers in ordered)
    if not counted["calls"].any():
        return {}
    return _grounded(counted) | _calls(counted)


def _row(outcome: CaseOutcome) -> tuple[Any, ...]:
    """The unit, what the episode is sorted by, and its numbers."""
    faults = Counter(filter(None, outcome.call_faults.split(",")))
    return (
        outcome.unit, outcome.case, outcome.member, outcome.verdict == "right",
        *(getattr(outcome, name) for name in NUMBERS),
        faults.total(), *(faults[fault] for fault in CALL_FAULTS),
    )  # fmt: skip


class _Episodes:
    """Of outcomes what the figures need, in columns."""

    def __init__(self, rows: Iterable[tuple[Any, ...]]) -> None:
        names = ("right", *NUMBERS, FAILED, *CALL_FAULTS)
        self._columns = NumberColumns(rows, len(names))
        self._places = {name: place for place, name in enumerate(names)}

    def __getitem__(self, name: str) -> Floats:
        column: Floats = self._columns.values[self._places[name]]
        return column

    def known(self, name: str) -> Marks:
        """Of which a number is known."""
        found: Marks = ~np.isnan(self[name])
        return found

    def share(self, of: Marks, is_so: Marks) -> Rate:
        """Of how many of some episodes something is so."""
        return Rate.of(is_so[of].tolist(), self._columns.groups(of))

    def mean(self, name: str, of: Marks) -> Rate:
        """The mean of numbers from 0 to 1, with its interval over groups."""
        return mean_rate(self[name][of].tolist(), self._columns.groups(of))

    def part(self, some: Floats, whole: Floats, of: Marks) -> Rate:
        """Which share of the calls or looks of some episodes these are."""
        counts = (each[of].astype(int).tolist() for each in (some, whole))
        return Rate.of_parts(zip(*counts, strict=True), self._columns.groups(of))


def _grounded(counted: _Episodes) -> dict[str, Rate | float]:
    marked, hit, looked = counted.known("hit"), counted["hit"] == 1, counted["looked"] == 1
    right = marked & (counted["right"] == 1)
    shares = {
        RIGHT_SHOWN: counted.share(right, hit),
        WRONG_SHOWN: counted.share(marked & ~right, hit),
        WRONG_PLACE: counted.share(right, looked & ~hit),
        BLIND: counted.share(right, ~looked),
    }
    found: dict[str, Rate | float] = {name: rate for name, rate in shares.items() if rate.n}
    for name, column in ((IOU, "look_iou"), (COVERAGE, "look_coverage")):
        known = marked & counted.known(column)
        if known.any():
            found[name] = counted.mean(column, known)
    return found


def _calls(counted: _Episodes) -> dict[str, Rate | float]:
    found: dict[str, Rate | float] = {}
    parts: dict[str, Rate] = {}
    known, calls = counted.known("calls_needed"), counted["calls"]
    if known.any():
        needed = counted["calls_needed"]
        found[NEEDED] = fmean(needed[known].tolist())
        parts[BEYOND] = counted.part(np.maximum(0, calls - needed), calls, known)
    told = counted.known("looks")
    if told.any():
        repeated = np.nan_to_num(counted["repeated_looks"])
        parts[REPEATED] = counted.part(repeated, counted["looks"], told)
        parts[FAILED] = counted.part(counted[FAILED], calls, told)
        for fault in CALL_FAULTS:
            if counted[fault][told].any():
                parts[f"{FAILED}: {fault}"] = counted.part(counted[fault], calls, told)
    return found | {name: rate for name, rate in parts.items() if rate.n}
