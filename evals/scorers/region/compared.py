"""An answer's regions beside the gold ones of its case."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medgym.cases import Case
from medgym.metrics.regions import box_iou, findings
from medgym.regions import Region

from .grammar import Shape, read_shapes


@dataclass(frozen=True)
class GoldRegions:
    """The regions that are right together.

    Attributes:
        in_pixels: whether they are in the image's own pixels; those of a text are in the frame that
            the question asks for.
    """

    regions: tuple[Region, ...]
    in_pixels: bool

    @property
    def plane(self) -> str | None:
        """The plane of the volume that they lie in; None of an image that is only one."""
        return next((each.plane for each in self.regions if each.plane is not None), None)


def golds_of(case: Case) -> list[GoldRegions]:
    """The gold of a case, and what it accepts; none where its answer is a text without a region.

    The gold is the text of `answer`, or where that is blank the case's regions.
    """
    plane = next((each.plane for each in findings(case) if each.plane is not None), None)
    plane = plane or (case.images[0].plane if case.images else None) or "axial"
    texts = [text for text in case.golds if text.strip()]
    found = [shapes for text in texts if (shapes := read_shapes(text, plane)) is not None]
    golds = [GoldRegions(tuple(each.region for each in shapes), False) for shapes in found]
    if not case.answer.strip() and (regions := findings(case)):
        golds.insert(0, GoldRegions(regions, True))
    return golds


def answered_regions(case: Case, answer: str, gold: GoldRegions) -> tuple[Shape, ...] | None:
    """The regions that an answer names, each on its images; None where it is none.

    In a volume an answer says on which images it lies, unless the case's image is one of them.
    """
    shapes = read_shapes(answer, gold.plane)
    if shapes is None or gold.plane is None:
        return shapes
    placed = [each if each.has_place else _on_shown_image(each, case, gold) for each in shapes]
    whole = [each for each in placed if each is not None]
    return tuple(whole) if len(whole) == len(placed) else None


def _on_shown_image(shape: Shape, case: Case, gold: GoldRegions) -> Shape | None:
    image = shape.region.image
    if not 0 <= image < len(case.images):
        return None
    ref = case.images[image]
    if ref.index is None or ref.plane != gold.plane:
        return None
    place = {"plane": ref.plane, "index": ref.index}
    return replace(shape, region=shape.region.model_copy(update=place), has_place=True)


def overlaps(given: Sequence[Region], gold: Sequence[Region]) -> list[float]:
    """The overlaps of the pairs of boxes that match best, one to one; those of 0 are left out."""
    table = [[_box_overlap(one, other) for other in gold] for one in given]
    if len(given) == 1 or len(gold) == 1:
        best = max((value for row in table for value in row), default=0.0)
        return [best] if best > 0 else []
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [table[row][column] for row, column in pairs if table[row][column] > 0]


def _box_overlap(one: Region, other: Region) -> float:
    """The intersection over union of two boxes, in a volume of two blocks."""
    if one.image != other.image:
        return 0.0
    flat = box_iou(one.box_px, other.box_px)
    if one.index is None or other.index is None or not flat:
        return flat
    first = max(one.index, other.index)
    depth = min(one.index + one.count, other.index + other.count) - first
    if one.plane != other.plane or depth <= 0:
        return 0.0
    shared = flat / (1 + flat) * (_area(one) + _area(other)) * depth
    return shared / (_area(one) * one.count + _area(other) * other.count - shared)


def _area(region: Region) -> float:
    x0, y0, x1, y1 = region.box_px
    return (x1 - x0) * (y1 - y0)
