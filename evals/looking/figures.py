"""Figures of looking: are answers grounded in the gold regions, and what did the looks take?

Only cases with gold regions say whether an answer is grounded. Where no episode made a call, there
is nothing to say. Shares of calls and of looks are over these, with intervals over the cases'
groups.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import NamedTuple, Self

from medgym.metrics.grounding import CALL_FAULTS
from medgym.metrics.rate import Rate

from ..outcomes.outcome import CaseOutcome
from ..statistics.mean_rate import mean_rate

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

Unit = tuple[str, str]


NAMES = (
    RIGHT_SHOWN, WRONG_SHOWN, WRONG_PLACE, BLIND, IOU, COVERAGE, NEEDED, BEYOND, REPEATED, FAILED,
    *(f"{FAILED}: {fault}" for fault in CALL_FAULTS),
)  # fmt: skip
"""All names of `looking_figures`, in their order."""


class _Episode(NamedTuple):
    """Of an outcome what the figures need."""

    unit: Unit
    case: str
    member: int
    right: bool
    looked: bool
    hit: bool | None
    look_iou: float | None
    look_coverage: float | None
    calls: int
    calls_needed: int | None
    looks: int | None
    repeated_looks: int | None
    call_faults: str

    @classmethod
    def of(cls, outcome: CaseOutcome) -> Self:
        kept = {name: getattr(outcome, name) for name in cls._fields if name != "right"}
        return cls(right=outcome.verdict == "right", **kept)


def looking_figures(outcomes: Iterable[CaseOutcome]) -> dict[str, Rate | float]:
    """How the looks of some episodes and the gold regions fit, and what the looks took.

    The shares of right and of wrong answers whose looks showed a whole gold region; of right
    answers whose looks showed none, and of those without a look; the best IoU of a look with a
    region, and how much of the regions the looks showed, as means over cases; how many calls a case
    needs, and which share of calls was beyond that, failed, and showed nothing new.
    """
    # Sorted, so that the order in which episodes finish changes no digit.
    known = (_Episode.of(each) for each in outcomes if each.is_counted)
    counted = sorted(known, key=lambda each: each[:3])
    if not any(each.calls for each in counted):
        return {}
    return _grounded(counted) | _calls(counted)


def _grounded(counted: Sequence[_Episode]) -> dict[str, Rate | float]:
    marked = [each for each in counted if each.hit is not None]
    right = [each for each in marked if each.right]
    wrong = [each for each in marked if not each.right]
    found: dict[str, Rate | float] = {
        RIGHT_SHOWN: _share(right, lambda each: bool(each.hit)),
        WRONG_SHOWN: _share(wrong, lambda each: bool(each.hit)),
        WRONG_PLACE: _share(right, lambda each: each.looked and not each.hit),
        BLIND: _share(right, lambda each: not each.looked),
    }
    found = {name: rate for name, rate in found.items() if isinstance(rate, Rate) and rate.n}
    for name, column in ((IOU, "look_iou"), (COVERAGE, "look_coverage")):
        known = [each for each in marked if getattr(each, column) is not None]
        if known:
            found[name] = _mean([getattr(each, column) for each in known], known)
    return found


def _calls(counted: Sequence[_Episode]) -> dict[str, Rate | float]:
    found: dict[str, Rate | float] = {}
    known = [each for each in counted if each.calls_needed is not None]
    if known:
        found[NEEDED] = fmean(each.calls_needed or 0 for each in known)
        beyond = [max(0, each.calls - (each.calls_needed or 0)) for each in known]
        found |= _part(BEYOND, beyond, [each.calls for each in known], known)
    told = [each for each in counted if each.looks is not None]
    if told:
        repeated, looks = ([getattr(o, k) or 0 for o in told] for k in ("repeated_looks", "looks"))
        found |= _part(REPEATED, repeated, looks, told)
        faults = [Counter(filter(None, each.call_faults.split(","))) for each in told]
        calls = [each.calls for each in told]
        found |= _part(FAILED, [each.total() for each in faults], calls, told)
        for fault in CALL_FAULTS:
            if any(each[fault] for each in faults):
                found |= _part(f"{FAILED}: {fault}", [each[fault] for each in faults], calls, told)
    return found


def _part(
    name: str, some: Sequence[int], of: Sequence[int], outcomes: Sequence[_Episode]
) -> dict[str, Rate]:
    """Which share of the calls or looks of all episodes these are; nothing where there are none."""
    seen: list[bool] = []
    units: list[Unit] = []
    for count, whole, outcome in zip(some, of, outcomes, strict=True):
        seen += [True] * count + [False] * (whole - count)
        units += [outcome.unit] * whole
    return {name: Rate.of(seen, units)} if seen else {}


def _share(outcomes: Sequence[_Episode], is_so: Callable[[_Episode], bool]) -> Rate:
    return Rate.of([is_so(each) for each in outcomes], [each.unit for each in outcomes])


def _mean(values: Sequence[float], outcomes: Sequence[_Episode]) -> Rate:
    """The mean of numbers from 0 to 1, with its interval over groups."""
    return mean_rate(values, [each.unit for each in outcomes])
