"""What the table of outcomes holds of a case that asks for a region."""

import json
from typing import Any, TypedDict

from medgym.cases import Case
from medgym.metrics.extents import shared_extent
from medgym.regions import Region
from medgym.trajectory import Trajectory

from ...scorers.region.compared import GoldRegions, answered_regions, golds_of
from ...scorers.region.grammar import Shape
from ...scorers.region.scorer import is_comparable
from ...scorers.region.surface import surface
from ..answer_text import answer_text


class RegionColumns(TypedDict, total=False):
    """What `CaseOutcome` holds of a region."""

    iou: float
    dice: float
    hd95: float
    nsd: float
    surface_unit: str
    boxes: str


def region_columns(case: Case, trajectory: Trajectory) -> RegionColumns:
    """How an answer's regions compare with the gold ones; nothing of any other case, nor of one
    whose machinery failed, or whose gold names no region.

    Of several golds it is the one with which the answer shares most. Distances are measured where
    the gold is in original pixels. An answer without a region shares nothing, and has no distance.
    """
    if case.answer_type != "region" or case.options or trajectory.failure is not None:
        return {}
    answer = answer_text(case, trajectory)
    found = [_compared(case, answer, gold) for gold in golds_of(case)]
    return max(found, key=lambda each: each["iou"], default=RegionColumns())


def _compared(case: Case, answer: str, gold: GoldRegions) -> RegionColumns:
    shapes = answered_regions(case, answer, gold) or ()
    given = [each.region for each in shapes]
    found = RegionColumns(iou=0.0, dice=0.0, boxes=_boxes(gold.regions, shapes))
    if not given or not is_comparable(given, gold.regions):
        return found
    shared = shared_extent(given, gold.regions)
    found["iou"], found["dice"] = shared.iou, shared.dice
    apart = surface(case, given, gold.regions) if gold.in_pixels else None
    if apart is not None:
        found["hd95"], found["nsd"], found["surface_unit"] = apart.hd95, apart.nsd, apart.unit
    return found


def _boxes(gold: tuple[Region, ...], shapes: tuple[Shape, ...]) -> str:
    """The boxes of both sides as JSON, those of the answer with their confidences behind; in a
    volume none, for there average precision is not defined on boxes of one image."""
    both: dict[str, list[Any]] = {"gold": [], "found": []}
    if not any(each.plane for each in gold):
        both["gold"] = [[each.image, *each.box_px] for each in gold]
        both["found"] = [
            [each.region.image, *each.region.box_px, 1.0 if each.score is None else each.score]
            for each in shapes
        ]
    return json.dumps(both)
