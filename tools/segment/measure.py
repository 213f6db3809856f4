"""What a mask measures, exactly, without laying a large image out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgym.cases import Mask
from medgym.imaging.study import Box

from .request import Segmentation

Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Runs:
    """A mask as rows of original pixels: row, start and end (exclusive) of each run.

    Sorted by row, then start; there is at least one.
    """

    rows: Whole
    starts: Whole
    ends: Whole

    @classmethod
    def of(cls, found: Segmentation) -> "Runs":
        """An original pixel belongs to the entry of the mask that its corner lies in."""
        height, width = found.mask.shape
        left, top = int(found.region_px[0]), int(found.region_px[1])
        wide, high = int(found.region_px[2]) - left, int(found.region_px[3]) - top
        change = np.diff(np.pad(found.mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        starts, ends = np.argwhere(change == 1), np.argwhere(change == -1)
        first, last = (-(-(starts[:, 0] + i) * high // height) for i in (0, 1))
        again = np.repeat(np.arange(len(starts)), last - first)
        rows = np.arange(len(again)) - np.repeat(np.cumsum(last - first) - last, last - first)
        order = np.argsort(rows, kind="stable")
        again = again[order]
        start, end = (left - (-edges[again, 1] * wide // width) for edges in (starts, ends))
        return cls(rows[order] + top, start, end)

    @classmethod
    def of_mask(cls, mask: Mask) -> "Runs | None":
        """Of a mask with something in it, else None; it is never laid out."""
        edges = np.cumsum(np.asarray(mask.counts, np.int64))
        starts, ends = edges[: len(edges) // 2 * 2].reshape(-1, 2).T
        starts, ends = starts[ends > starts], ends[ends > starts]
        if not starts.size:
            return None
        first, last = starts // mask.width, (ends - 1) // mask.width
        again = np.repeat(np.arange(len(starts)), last - first + 1)
        before = np.repeat(np.cumsum(last - first + 1) - (last - first + 1), last - first + 1)
        rows = first[again] + np.arange(len(again)) - before
        from_row, to_row = rows * mask.width, (rows + 1) * mask.width
        left = np.maximum(starts[again], from_row) - from_row
        return cls(rows, left, np.minimum(ends[again], to_row) - from_row)

    @property
    def area_px(self) -> int:
        """How many pixels."""
        return int((self.ends - self.starts).sum())

    @property
    def box_px(self) -> Box:
        """The box of all pixels."""
        return (
            float(self.starts.min()),
            float(self.rows[0]),
            float(self.ends.max()),
            float(self.rows[-1] + 1),
        )

    def diameter(self, spacing: tuple[float, float]) -> float:
        """The greatest distance between two corners of pixels; `spacing` is (row, column)."""
        from scipy.spatial import ConvexHull
        from scipy.spatial.distance import pdist

        y = np.concatenate([self.rows, self.rows + 1, self.rows, self.rows + 1])
        x = np.concatenate([self.starts, self.starts, self.ends, self.ends])
        corners = np.stack([x, y], axis=1)
        # The hull is found in pixels: in millimetres a pixel may be too flat for Qhull.
        hull = corners[ConvexHull(corners).vertices] * np.array([spacing[1], spacing[0]])
        return float(pdist(hull).max())

    def mask(self, size: tuple[int, int]) -> Mask:
        """The mask over a whole image of (width, height)."""
        width, height = size
        edges = np.stack([self.rows * width + self.starts, self.rows * width + self.ends], axis=1)
        edges = edges.ravel()
        # A run that ends where the next begins (over the image's side) is one run with it.
        joined = np.flatnonzero(edges[1:] == edges[:-1])
        edges = np.delete(edges, np.concatenate([joined, joined + 1]))
        counts = np.diff(np.concatenate([[0], edges, [width * height]]))
        if counts[-1] == 0:
            counts = counts[:-1]
        return Mask(width=width, height=height, counts=tuple(counts.tolist()))

    def within(self, box_px: tuple[int, int, int, int], step: int = 1) -> NDArray[np.bool_]:
        """(height, width) over a box of whole pixels: which of its pixels belong to the mask.

        Args:
            step: every so many rows and columns are looked at, from the first on.
        """
        x0, y0, x1, y1 = box_px
        inside = (self.rows >= y0) & (self.rows < y1) & ((self.rows - y0) % step == 0)
        rows = (self.rows[inside] - y0) // step
        # The first column that is looked at, from an edge on.
        starts = -(-(np.clip(self.starts[inside], x0, x1) - x0) // step)
        ends = -(-(np.clip(self.ends[inside], x0, x1) - x0) // step)
        change = np.zeros((-(-(y1 - y0) // step), -(-(x1 - x0) // step) + 1), np.int8)
        np.add.at(change, (rows, starts), 1)  # it may overflow meanwhile, and then comes back
        np.add.at(change, (rows, ends), -1)
        return np.cumsum(change, axis=1, dtype=np.int8, out=change)[:, :-1] > 0
