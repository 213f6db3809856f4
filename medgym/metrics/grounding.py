"""Where a policy looked and where it had to: coverage of gold regions, calls needed, looks in vain.

The least number of calls is that of the tools `slice` and `zoom`: `slice` to an image of a study
that shows the region, if the first view does not, and `zoom` to the region there. Whether the grey
values of a first view are enough cannot be known from a gold region, so `window` is never among the
calls needed; but a view in another window shows something new.
"""

from dataclasses import replace

from medgym.cases import Case, CaseView, Region
from medgym.imaging.study import Box
from medgym.metrics.extents import union_area
from medgym.metrics.regions import area, box_iou, findings, shows
from medgym.trajectory import Look, Trajectory

ALIKE = 0.9
"""From which box IoU on two looks show the same."""

CALL_FAULTS = ("name", "type", "value", "late", "memory")
"""What can be wrong with a call; the other faults of a trajectory are of replies."""


def coverage(case: Case, trajectory: Trajectory) -> float | None:
    """The share of the gold regions' boxes, by area, that the looks showed; None for a case without
    regions. Boxes that overlap count once where they lie on the same images."""
    places: dict[object, list[Region]] = {}
    for region in findings(case):
        place = region.image, region.plane, region.index, region.count
        places.setdefault(place, []).append(region)
    gold = seen = 0.0
    for regions in places.values():
        looks = [look.box_px for look in trajectory.looks if shows(look, regions[0])]
        boxes = [region.box_px for region in regions]
        gold += union_area(boxes)
        shared = (_shared(box, look) for box in boxes for look in looks)
        seen += union_area([each for each in shared if area(each)])
    return seen / gold if gold else None


def _shared(one: Box, other: Box) -> Box:
    """What lies in both boxes; a box without area where nothing does."""
    x0, y0 = max(one[0], other[0]), max(one[1], other[1])
    return x0, y0, max(x0, min(one[2], other[2])), max(y0, min(one[3], other[3]))


def calls_needed(case: Case) -> int | None:
    """The least number of calls after which a gold region has been seen whole and enlarged, as
    `medgym.metrics.looking.hit` asks for; None for a case without regions.

    0 where the episode starts with a view of it, 1 where the first view is of its image, 2 where
    another image of the study has to be found first. A case that does not say with which image of a
    study it starts is taken to start elsewhere.
    """
    return min((_needed(case, region) for region in findings(case)), default=None)


def _needed(case: Case, region: Region) -> int:
    if any(_holds(case, view, region) for view in case.views):
        return 0
    return 1 if _starts_with(case, region) else 2


def _starts_with(case: Case, region: Region) -> bool:
    """Whether the first view of a region's image is of a place on which it lies."""
    if region.plane is None:
        return True
    if region.image >= len(case.images):  # a case without images, such as one of text only
        return False
    ref = case.images[region.image]
    if ref.plane is None or ref.index is None:
        return False
    thin = ref.slab is None or ref.slab.count <= region.count
    return thin and region.lies_on(ref.plane, ref.index)


def _holds(case: Case, view: CaseView, region: Region) -> bool:
    """Whether a view from the start shows a whole region."""
    if view.image != region.image:
        return False
    if view.plane is None and view.index is None:
        there = _starts_with(case, region)
    else:
        ref = case.images[view.image]
        plane = ref.plane if view.plane is None else view.plane
        index = ref.index if view.index is None else view.index
        there = region.plane is None or (
            plane is not None and index is not None and region.lies_on(plane, index)
        )
    x0, y0, x1, y1 = region.box_px
    left, top, right, bottom = view.box_px
    return there and left <= x0 and top <= y0 and right >= x1 and bottom >= y1


def repeated_looks(trajectory: Trajectory) -> int:
    """How many looks showed nothing new, of a consultation in all its parts.

    A look shows nothing new if its picture is one that was shown before, or if the same tool showed
    the same place before, as large or larger, in a box of which the IoU with this one is at least
    `ALIKE`.
    """
    return sum(_repeated(part) for _, part in trajectory.parts())


def _repeated(part: Trajectory) -> int:
    start = len(part.nodes[0].images) if part.nodes else 0
    pictures = {use.view: use.sha256 for node in part.nodes for use in node.images}
    shown = {pictures[view] for view in range(start) if view in pictures}
    count = 0
    for place, look in enumerate(part.looks):
        picture = pictures.get(start + place)
        count += picture in shown or any(_alike(look, each) for each in part.looks[:place])
        if picture is not None:
            shown.add(picture)
    return count


def _alike(look: Look, earlier: Look) -> bool:
    """Whether a look shows what an earlier one of the same tool showed, and no finer."""
    same = replace(look, box_px=earlier.box_px, gain=earlier.gain) == earlier
    as_large = look.gain * ALIKE <= earlier.gain
    return same and as_large and box_iou(look.box_px, earlier.box_px) >= ALIKE


def call_faults(trajectory: Trajectory) -> list[str]:
    """What was wrong with each call that was refused or late, of all parts of a consultation."""
    faults = (fault for _, part in trajectory.parts() for fault in part.faults)
    kinds = (fault.partition(":")[0] for fault in faults)
    return [kind for kind in kinds if kind in CALL_FAULTS]
