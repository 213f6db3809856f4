"""How much of a gold region was looked at: boxes, masks and gaze maps in original pixels.

A gaze map says where experts looked, and for how long. A case stores it in its regions: those
labelled `gaze` are the levels of a heat map, whose masks or boxes add up. It says where to look and
not what is there, so it is not a finding, and `findings` omits it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgym.cases import Case, Mask, Region
from medgym.imaging.study import Box
from medgym.trajectory import Look

GAZE = "gaze"
"""The label of the regions that are a gaze map."""


def findings(case: Case) -> tuple[Region, ...]:
    """The gold regions of a case, without its gaze map."""
    return tuple(region for region in case.regions if region.label != GAZE)


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

    If there is a gaze map, only it is the gold: its regions add up to a heat whose peak is 1.
    Otherwise gold is where any of the regions is.
    """
    gaze = [region for region in regions if region.label == GAZE]
    shared = gold = looked = peak = 0.0
    for image in {look.image for look in looks} | {region.image for region in regions}:
        boxes = [look.box_px for look in looks if look.image == image]
        looked += union_area(boxes)
        here = [region for region in gaze or regions if region.image == image]
        if not here:
            continue
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
    for image in {region.image for region in (*some, *others)}:
        sides = [[region for region in side if region.image == image] for side in (some, others)]
        frame = _frame([*sides[0], *sides[1]])
        one, other = (_layers(side, frame).any(axis=0) for side in sides)
        shared += float((one & other).sum())
        union += float((one | other).sum())
    return shared / union if union else 0.0


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
