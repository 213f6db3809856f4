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


def union_area(boxes: Sequence[Box]) -> float:
    """The exact area that boxes cover together."""
    if not boxes:
        return 0.0
    xs = np.unique([x for box in boxes for x in (box[0], box[2])])
    ys = np.unique([y for box in boxes for y in (box[1], box[3])])
    covered = np.zeros((len(ys) - 1, len(xs) - 1), bool)
    for x0, y0, x1, y1 in boxes:
        columns = slice(*np.searchsorted(xs, (x0, x1)).tolist())
        covered[slice(*np.searchsorted(ys, (y0, y1)).tolist()), columns] = True
    return float(np.diff(ys) @ covered @ np.diff(xs))


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
        frame = _frame(here)
        layers = _layers(here, frame)
        heat = layers.sum(axis=0) if gaze else layers.max(axis=0)
        seen = np.zeros(heat.shape, bool)
        for box in boxes:
            seen[_window(box, frame)] = True
        peak = max(peak, float(heat.max()))
        gold += float(heat.sum())
        shared += float(heat[seen].sum())
    return Overlap(shared / (peak or 1.0), gold / (peak or 1.0), looked)


def regions_iou(some: Sequence[Region], others: Sequence[Region]) -> float:
    """Intersection over union of some regions together with others together, over all images."""
    shared = union = 0.0
    alone = [each for each in some if not any(_meet(each, other) for other in others)]
    groups: list[tuple[list[Region], list[Region]]] = [
        (here, []) for here in _grouped(alone, _where)
    ]
    groups += [
        ([each for each in some if _meet(each, here[0])], here) for here in _grouped(others, _where)
    ]
    for sides in groups:
        frame = _frame([*sides[0], *sides[1]])
        one, other = (_layers(side, frame).any(axis=0) for side in sides)
        shared += float((one & other).sum())
        union += float((one | other).sum())
    return shared / union if union else 0.0


def _where(region: Region) -> Hashable:
    return region.image, region.plane, region.index, region.count


def _meet(one: Region, other: Region) -> bool:
    """Whether two regions are of one image, of planes and indices that may be the same."""
    if one.image != other.image:
        return False
    if one.index is None or other.index is None:
        return True
    first = max(one.index, other.index)
    end = min(one.index + one.count, other.index + other.count)
    return one.plane == other.plane and first < end


def _grouped(things: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Things by what they have in common, in the order in which that comes first."""
    groups: dict[Hashable, list[T]] = {}
    for each in things:
        groups.setdefault(key(each), []).append(each)
    return list(groups.values())


def _frame(regions: Sequence[Region]) -> tuple[int, int, int, int]:
    """The whole pixels that hold all boxes: left, top, right, bottom (exclusive)."""
    boxes = np.array([region.box_px for region in regions])
    left, top = np.floor(boxes[:, :2].min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(boxes[:, 2:].max(axis=0)).astype(int).tolist()
    return left, top, right, bottom


def _window(box: Box, frame: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """The rows and columns of a frame's pixels that lie in a box."""
    x0, x1 = (max(0, round(x) - frame[0]) for x in (box[0], box[2]))
    y0, y1 = (max(0, round(y) - frame[1]) for y in (box[1], box[3]))
    return slice(y0, y1), slice(x0, x1)


def _layers(regions: Sequence[Region], frame: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """(regions, height, width) of a frame: where each region is, by its mask or else its box."""
    left, top, right, bottom = frame
    layers = np.zeros((len(regions), bottom - top, right - left), bool)
    for layer, region in zip(layers, regions, strict=True):
        if region.mask is not None:
            layer[:] = region.mask.array()[top:bottom, left:right]
        else:
            layer[_window(region.box_px, frame)] = True
    return layers
