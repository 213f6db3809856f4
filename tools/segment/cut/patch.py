"""The part of an image that is looked at, averaged down to a size that is quick to work on."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.imaging.study import Box

from ..request import Binary, Point, SegmentRequest

Pixels = NDArray[np.float32]

MOST_ENLARGED = 2.0
"""How often a small part is enlarged at most, so that its outline can lie between pixels."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A region of an image as it is worked on.

    Attributes:
        region_px: the region, whole original pixels.
        pixels: (height, width, 3).
        goes_on: whether the image goes on at the left, the top, the right, the bottom.
    """

    region_px: Box
    pixels: Pixels
    goes_on: tuple[bool, bool, bool, bool] = (True, True, True, True)

    @classmethod
    def of(
        cls,
        request: SegmentRequest,
        box_px: Box,
        margin: float,
        side: int,
        most: float = MOST_ENLARGED,
    ) -> "Patch":
        """A box with a margin around it, a share of its longer side; `side` is that of the box.

        It is enlarged by `most` at most.
        """
        x0, y0, x1, y1 = box_px
        width, height = request.size
        longer = max(x1 - x0, y1 - y0)
        around = float(np.ceil(margin * longer)) + 2
        left, top = max(0.0, np.floor(x0 - around)), max(0.0, np.floor(y0 - around))
        right = min(float(width), np.ceil(x1 + around))
        bottom = min(float(height), np.ceil(y1 + around))
        factor = min(most, side / longer)
        size = max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor))
        region = float(left), float(top), float(right), float(bottom)
        goes_on = left > 0, top > 0, right < width, bottom < height
        return cls(region, request.picture(region, size).astype(np.float32), goes_on)

    def frame(self, share: float) -> Binary:
        """The edge, of a share of the longer side and at least a pixel wide, where the image goes
        on; all of it where the patch is the whole image."""
        wide = max(1, round(share * max(self.shape)))
        left, top, right, bottom = self.goes_on if any(self.goes_on) else (True,) * 4
        frame = np.zeros(self.shape, bool)
        frame[:, : wide * left] = True
        frame[: wide * top] = True
        frame[:, max(0, self.shape[1] - wide * right) :] |= right
        frame[max(0, self.shape[0] - wide * bottom) :] |= bottom
        return frame

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of what is worked on."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def scale(self) -> float:
        """How many of its pixels an original one is, along a side."""
        return self.shape[1] / (self.region_px[2] - self.region_px[0])

    def box_of(self, mask: Binary) -> Box:
        """The box of a mask in whole original pixels."""
        (height, width), (x0, y0, x1, y1) = self.shape, self.region_px
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        across, down = (x1 - x0) / width, (y1 - y0) / height
        return (
            float(np.floor(x0 + columns[0] * across)),
            float(np.floor(y0 + rows[0] * down)),
            min(x1, float(np.ceil(x0 + (columns[-1] + 1) * across))),
            min(y1, float(np.ceil(y0 + (rows[-1] + 1) * down))),
        )

    def resampled(self, mask: Binary, region_px: Box) -> Binary:
        """A mask of another region of the image, as of this one; nothing outside that region."""
        x0, y0, x1, y1 = region_px
        picture = Image.fromarray(mask.astype(np.uint8) * 255)
        across, down = mask.shape[1] / (x1 - x0), mask.shape[0] / (y1 - y0)
        left, top, right, bottom = self.region_px
        box = ((left - x0) * across, (top - y0) * down, (right - x0) * across, (bottom - y0) * down)
        width, height = self.shape[1], self.shape[0]
        shown = picture.transform(
            (width, height), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR
        )
        return np.asarray(shown) > 127

    def at(self, point: Point) -> tuple[int, int]:
        """(row, column) of a point in original pixels; the nearest one of a point outside."""
        (height, width), (x0, y0, x1, y1) = self.shape, self.region_px
        row = int((point[1] - y0) * height / (y1 - y0))
        column = int((point[0] - x0) * width / (x1 - x0))
        return min(max(row, 0), height - 1), min(max(column, 0), width - 1)

    def near(self, points: tuple[tuple[int, int], ...], radius: float) -> Binary:
        """What lies within a distance of points (row, column)."""
        rows, columns = np.ogrid[: self.shape[0], : self.shape[1]]
        near = np.zeros(self.shape, bool)
        for row, column in points:
            near |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        return near

    def line(self, points: tuple[Point, ...]) -> tuple[tuple[int, int], ...]:
        """(row, column) of what a line through points in original pixels touches."""
        from skimage.draw import line

        touched: dict[tuple[int, int], None] = {}
        for one, other in pairwise(points):
            touched.update(dict.fromkeys(zip(*line(*self.at(one), *self.at(other)), strict=True)))
        return tuple((int(row), int(column)) for row, column in touched)

    def inside(self, box_px: Box) -> Binary:
        """What lies in a box of original pixels; at least one entry."""
        (height, width), (x0, y0, x1, y1) = self.shape, self.region_px
        top = round((box_px[1] - y0) * height / (y1 - y0))
        bottom = round((box_px[3] - y0) * height / (y1 - y0))
        left = round((box_px[0] - x0) * width / (x1 - x0))
        right = round((box_px[2] - x0) * width / (x1 - x0))
        inside = np.zeros(self.shape, bool)
        inside[top : max(bottom, top + 1), left : max(right, left + 1)] = True
        inside[self.at((box_px[0], box_px[1]))] |= not inside.any()
        return inside
