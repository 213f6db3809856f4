"""How far regions reach: their pixels on each image of a study, and what two sides share of them.

In a volume a region reaches over several images of a plane, so what is shared is counted image by
image. Regions in different planes are compared nowhere: that two of them cross is geometry that a
case does not hold.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.study import Box
from medgym.regions import Region

Frame = tuple[int, int, int, int]
"""Whole pixels: left, top, right, bottom (exclusive)."""


@dataclass(frozen=True)
class Stretch:
    """Images of a study on which the same regions lie.

    Attributes:
        some, others: the regions of both sides that lie there; one side may have none.
        image, plane, index: which images, the first of them; a plane of None is of an image that is
            only one. images: how many.
    """

    some: tuple[Region, ...]
    others: tuple[Region, ...]
    image: int
    plane: str | None
    index: int
    images: int


def stretches(some: Sequence[Region], others: Sequence[Region]) -> Iterator[Stretch]:
    """The images on which regions of two sides lie, in stretches of equal ones.

    A region that names no plane lies on each image on which another one does; where none names a
    plane there is only one image.
    """
    both = [*some, *others]
    for image in dict.fromkeys(region.image for region in both):
        here = [region for region in both if region.image == image]
        named = dict.fromkeys(each.plane for each in here if each.plane is not None)
        planes: list[str | None] = [*named] or [None]
        for plane in planes:
            ends = {0, 1} if plane is None else {e for r in here for e in _ends(r, plane)}
            for first, end in zip(sorted(ends), sorted(ends)[1:], strict=False):
                sides = [
                    tuple(r for r in side if r.image == image and _lies_on(r, plane, first))
                    for side in (some, others)
                ]
                if any(each.plane == plane for side in sides for each in side):
                    yield Stretch(sides[0], sides[1], image, plane, first, end - first)


def _ends(region: Region, plane: str) -> tuple[int, ...]:
    if region.plane != plane or region.index is None:
        return ()
    return region.index, region.index + region.count


def _lies_on(region: Region, plane: str | None, index: int) -> bool:
    return plane is None or region.lies_on(plane, index)


@dataclass(frozen=True)
class SharedExtent:
    """What two sides share, and what each of them has, in pixels of all their images."""

    shared: float
    one: float
    other: float

    @property
    def iou(self) -> float:
        """Intersection over union; 0 where both are empty."""
        union = self.one + self.other - self.shared
        return self.shared / union if union else 0.0

    @property
    def dice(self) -> float:
        """Twice what is shared over what both have together; 0 where both are empty."""
        whole = self.one + self.other
        return 2 * self.shared / whole if whole else 0.0


def shared_extent(some: Sequence[Region], others: Sequence[Region]) -> SharedExtent:
    """What some regions together share with others together, over all images.

    Boxes are compared exactly, whatever their unit; where a region has a mask, in whole pixels.
    """
    found = np.zeros(3)
    for each in stretches(some, others):
        found += each.images * np.array(_areas(each))
    return SharedExtent(*map(float, found))


def _areas(stretch: Stretch) -> tuple[float, float, float]:
    sides = stretch.some, stretch.others
    if any(region.mask is not None for side in sides for region in side):
        frame = frame_of([*stretch.some, *stretch.others])
        one, other = (layers(side, frame).any(axis=0) for side in sides)
        return float((one & other).sum()), float(one.sum()), float(other.sum())
    boxes = [[region.box_px for region in side] for side in sides]
    areas = union_area(boxes[0]), union_area(boxes[1])
    return max(0.0, sum(areas) - union_area([*boxes[0], *boxes[1]])), *areas


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


def frame_of(regions: Sequence[Region]) -> Frame:
    """The whole pixels that hold all boxes."""
    boxes = np.array([region.box_px for region in regions])
    left, top = np.floor(boxes[:, :2].min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(boxes[:, 2:].max(axis=0)).astype(int).tolist()
    return left, top, right, bottom


def window(box: Box, frame: Frame) -> tuple[slice, slice]:
    """The rows and columns of a frame's pixels that lie in a box."""
    x0, x1 = (max(0, round(x) - frame[0]) for x in (box[0], box[2]))
    y0, y1 = (max(0, round(y) - frame[1]) for y in (box[1], box[3]))
    return slice(y0, y1), slice(x0, x1)


def layers(regions: Sequence[Region], frame: Frame) -> NDArray[np.bool_]:
    """(regions, height, width) of a frame: where each region is, by its mask or else its box."""
    left, top, right, bottom = frame
    made = np.zeros((len(regions), bottom - top, right - left), bool)
    for layer, region in zip(made, regions, strict=True):
        if region.mask is None:
            layer[window(region.box_px, frame)] = True
            continue
        x0, y0 = max(left, 0), max(top, 0)  # the frame may reach beyond the mask's image
        x1, y1 = min(right, region.mask.width), min(bottom, region.mask.height)
        if x0 < x1 and y0 < y1:
            inside = region.mask.array()[y0:y1, x0:x1]
            layer[y0 - top : y1 - top, x0 - left : x1 - left] = inside
    return made
