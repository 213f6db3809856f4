"""Figures of regions: overlap, distance between outlines, and average precision of boxes."""

import json
from collections.abc import Callable, Collection, Hashable, Sequence
from math import inf

from medgym.metrics.intervals import mean_interval
from medgym.metrics.rate import Amount, Rate

from ...scorers.region import detection
from ...scorers.region.detection import average_precision
from ...scorers.region.surface import TOLERANCE
from ..outcome import CaseOutcome
from ..shares import Key, as_share, shares

IOU = "region, IoU"
DICE = "region, Dice"
AP50 = "region, AP50"
MAP = "region, mAP (AP50:95)"


def hd95(unit: str) -> str:
    """The name of HD95's figure: pixels and millimetres are never one mean."""
    return f"region, HD95 ({unit})"


def nsd(unit: str) -> str:
    """The name of NSD's figure."""
    return f"region, NSD at {TOLERANCE:g} {unit}"


def region_figures(outcomes: Collection[CaseOutcome]) -> dict[str, Rate]:
    """The figures of the cases that ask for a region; nothing where there is none.

    Overlaps and average precision are over all of them, an answer without a region has 0. Distances
    are over the answers that have an outline, and apart for millimetres and for pixels: how many
    these are is said by the number of cases of the figure.
    """
    values: dict[str, Callable[[CaseOutcome], float | None]] = {
        IOU: lambda each: each.iou,
        DICE: lambda each: each.dice,
        nsd("mm"): lambda each: each.nsd if each.surface_unit == "mm" else None,
        nsd("pixels"): lambda each: each.nsd if each.surface_unit == "pixels" else None,
    }
    found = shares(outcomes, "region", values)
    if not found:
        return {}
    for unit in ("mm", "pixels"):
        rows = sorted(
            (each.key, each.unit, each.hd95)
            for each in outcomes
            if each.scorer == "region" and each.hd95 is not None and each.surface_unit == unit
        )
        if rows:
            found[hd95(unit)] = _amount(rows, unit)
    return found | _precision(outcomes)


def _amount(rows: Sequence[tuple[Key, Hashable, float]], unit: str) -> Amount:
    values, groups = [value for *_, value in rows], [group for _, group, _ in rows]
    found = mean_interval(values, groups, within=(0.0, inf))
    return Amount(found.value, found.low, found.high, found.n, unit)


def _precision(outcomes: Collection[CaseOutcome]) -> dict[str, Rate]:
    if not detection.is_installed():
        return {}
    rows = sorted(
        (each.key, each.unit, each.boxes)
        for each in outcomes
        if each.scorer == "region" and each.is_counted and each.boxes
    )
    cases, units = [], []
    for _, unit, boxes in rows:
        held = json.loads(boxes)
        for image in sorted({box[0] for box in held["gold"] + held["found"]}):
            here = [[b[1:] for b in held[side] if b[0] == image] for side in ("gold", "found")]
            cases.append((here[0], here[1]))
            units.append(unit)
    if not any(gold for gold, _ in cases):
        return {}
    found = average_precision(cases, units)
    return {AP50: as_share(found["AP50"]), MAP: as_share(found["mAP"])}
