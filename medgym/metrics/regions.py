"""How much of a gold region was looked at: boxes, masks and gaze maps in original pixels.

A gaze map says where experts looked, and for how long. A case stores it in its regions: those
labelled `gaze` are the levels of a heat map, whose masks or boxes add up. It says where to look and
not what is there, so it is not a finding, and `findings` omits it.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medgym.cases import Case, Mask, Region
from medgym.imaging.study import Box
from medgym.metrics.extents import frame_of, layers, shared_extent, union_area, window
from medgym.trajectory import Look
from medgym.workspace import View

T = TypeVar("T")

GAZE = "gaze"
"""The label of the regions that are a gaze map."""


def findings(case: Case) -> tuple[Region, ...]:
    """The gold regions of a case, without its gaze map, each with its plane and indices."""
    return tuple(region for region in placed(case) if region.label != GAZE)


def placed(case: Case) -> tuple[Region, ...]:
    """The gold regions of a case. Those that name no place in a study have the one that the case's
    image names; of an image that names none they lie on any, for then there is only one."""
    return tuple(map(partial(_placed, case), case.regions))


def _placed(case: Case, region: Region) -> Region:
    ref = case.images[region.image] if 0 <= region.image < len(case.images) else None
    if region.plane is not None or ref is None or ref.plane is None or ref.index is None:
        return region
    return region.model_copy(update={"plane": ref.plane, "index": ref.index})


def shows(look: Look | View, region: Region) -> bool:
    """Whether a look or a view is of the plane and of the indices of a region, wherever its box is.

    A slab shows a region if its middle is one of the region's images, and if it is no thicker than
    the region: in a thicker one the region is mixed with what lies before and behind it.
    """
    if look.image != region.image or not region.lies_on(look.plane, look.index):
        return False
    return region.plane is None or look.slab is None or look.slab.count <= region.count


def gaze_regions(heat: NDArray[np.floating], levels: int = 4, image: int = 0) -> tuple[Region, ...]:
    """A gaze map as regions of a case, quantised to `levels` even steps.

    Args:
        heat: (height, width) of the image in original pixels, 0 or more, in any unit.
        levels: how many steps.
        image: the index of the image.
    """
    peak = float(heat.max())
    made = []
    for level in range(levels if peak > 0 else 0):
        inside = heat >= peak * (level + 0.5) / levels
        rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
        box_px = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        made.append(
            Region(
                label=GAZE,
                box_px=(float(box_px[0]), float(box_px[1]), float(box_px[2]), float(box_px[3])),
                mask=Mask.of(inside),
                image=image,
            )
        )
    return tuple(made)


def area(box: Box) -> float:
    """The area of a box in square pixels."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    shared = area(
        (
            max(one[0], other[0]),
            max(one[1], other[1]),
            min(one[2], other[2]),
            min(one[3], other[3]),
        )
    )
    whole = area(one) + area(other) - shared
    return shared / whole if whole else 0.0


@dataclass(frozen=True)
class Overlap:
    """How far a looked-at area and gold overlap, in square pixels. Gold may be a heat in 0..1.

    `shared` is the gold that was looked at, `gold` is all of it, `looked` is the looked-at area.
    """

    shared: float
    gold: float
    looked: float

    @property
    def iou(self) -> float:
        """Intersection over union; for a heat its soft form (sum of products over the rest)."""
        return self.shared / (self.gold + self.looked - self.shared) if self.gold else 0.0

    @property
    def coverage(self) -> float:
        """The share of gold that was looked at."""
        return self.shared / self.gold if self.gold else 0.0


def overlap(looks: Sequence[Look], regions: Sequence[Region]) -> Overlap:
    """The overlap of all looks together with all gold regions together, over all images.

    In a volume, gold is what the looks at a region's images show of it; each plane and index that
    was looked at counts by itself as looked-at area.

    If there is a gaze map, only it is the gold: its regions add up to a heat whose peak is 1.
    Otherwise gold is where any of the regions is.
    """
    gaze = [region for region in regions if region.label == GAZE]
    shared = gold = looked = peak = 0.0
    elsewhere = [look for look in looks if not any(shows(look, each) for each in gaze or regions)]
    for one in _grouped(elsewhere, lambda look: (look.image, look.plane, look.index)):
        looked += union_area([look.box_px for look in one])
    for here in _grouped(gaze or regions, _where):
        boxes = [look.box_px for look in looks if shows(look, here[0])]
        looked += union_area(boxes)
        frame = frame_of(here)
        each = layers(here, frame)
        heat = each.sum(axis=0) if gaze else each.max(axis=0)
        seen = np.zeros(heat.shape, bool)
        for box in boxes:
            seen[window(box, frame)] = True
        peak = max(peak, float(heat.max()))
        gold += float(heat.sum())
        shared += float(heat[seen].sum())
    return Overlap(shared / (peak or 1.0), gold / (peak or 1.0), looked)


def regions_iou(some: Sequence[Region], others: Sequence[Region]) -> float:
    """Intersection over union of some regions together with others together, over all images; in a
    volume image by image, so that a region on one of three images has at most a third."""
    return shared_extent(some, others).iou


def on_image(regions: Iterable[Region], plane: str, index: int) -> tuple[Region, ...]:
    """What regions show on one image of a study: those that lie on it, cut to it."""
    here = [region for region in regions if region.lies_on(plane, index)]
    return tuple(
        region if region.plane is None else region.model_copy(update={"index": index, "count": 1})
        for region in here
    )


def _where(region: Region) -> Hashable:
    return region.image, region.plane, region.index, region.count


def _grouped(things: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Things by what they have in common, in the order in which that comes first."""
    groups: dict[Hashable, list[T]] = {}
    for each in things:
        groups.setdefault(key(each), []).append(each)
    return list(groups.values())
