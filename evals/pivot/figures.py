"""Figures of pivots, with intervals over the groups of their cases."""

from collections.abc import Callable, Mapping, Sequence

from medgym.metrics.mean_rate import mean_rate
from medgym.metrics.rate import Rate

from .scoring import PivotOutcome

CLOSE = 0.5
"""From which IoU on a box is as the recorded one."""

_SHARES: Mapping[str, Callable[[PivotOutcome], bool | None]] = {
    "well-formed": lambda each: each.well_formed,
    "called a tool": lambda each: each.called,
    "answered instead": lambda each: each.answered,
    "call accepted": lambda each: each.accepted,
    "tool as recorded": lambda each: each.tool_right,
    "place as recorded": lambda each: each.place_right,
    "box as recorded": lambda each: None if each.iou is None else each.iou >= CLOSE,
    "shows a gold region": lambda each: each.gold_shown,
}

_MEANS: Mapping[str, Callable[[PivotOutcome], float | None]] = {
    "IoU with the recorded box": lambda each: each.iou,
    "IoU with a gold region": lambda each: each.gold_iou,
}


def pivot_figures(outcomes: Sequence[PivotOutcome]) -> dict[str, Rate]:
    """The figures of pivots. Those whose reply failed are left out; of places and boxes also those
    at which nothing was shown, of gold those without regions."""
    counted = sorted(
        (each for each in outcomes if each.failure is None),
        key=lambda each: (each.unit, each.case, each.member, each.turn),
    )
    found: dict[str, Rate] = {}
    for name, share in _SHARES.items():
        rows = [(each.unit, value) for each in counted if (value := share(each)) is not None]
        if rows:
            found[name] = Rate.of([value for _, value in rows], [unit for unit, _ in rows])
    for name, mean in _MEANS.items():
        known = [(each.unit, iou) for each in counted if (iou := mean(each)) is not None]
        if known:
            found[name] = mean_rate([iou for _, iou in known], [unit for unit, _ in known])
    return found
