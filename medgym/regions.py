"""Where a gold finding is: its box, its mask, and the images of a study on which it lies."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from medgym.imaging.study import Box


class Mask(BaseModel):
    """A binary mask as row-major run lengths; the first run counts zeros (it may be 0)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int
    height: int
    counts: tuple[int, ...]

    @model_validator(mode="after")
    def _fills_its_frame(self) -> "Mask":
        if min(self.counts, default=0) < 0 or sum(self.counts) != self.width * self.height:
            raise ValueError("the run lengths of a mask must add up to width x height")
        return self

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> "Mask":
        """From a (height, width) array."""
        height, width = mask.shape
        flat = np.concatenate(([False], mask.ravel().astype(bool), [False]))
        edges = np.flatnonzero(flat[1:] != flat[:-1])
        runs = np.diff(np.concatenate(([0], edges, [height * width])))
        if runs.size > 1 and runs[-1] == 0:
            runs = runs[:-1]
        return cls(width=width, height=height, counts=tuple(int(run) for run in runs))

    def array(self) -> NDArray[np.bool_]:
        """(height, width) booleans."""
        value = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(value, self.counts).reshape(self.height, self.width)


class Region(BaseModel):
    """A gold finding: its label, its box and, where known, its mask, in original pixels.

    Attributes:
        image: which of the case's images it is in.
        plane, index, count: on which images of a study it lies: `count` of them from `index` on, in
            that plane. None where an image is only one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    box_px: Box
    mask: Mask | None = None
    image: int = 0
    plane: str | None = None
    index: int | None = None
    count: int = 1

    @model_validator(mode="after")
    def _names_a_place(self) -> "Region":
        if (self.plane is None) != (self.index is None):
            raise ValueError("a region names both a plane and an index, or neither")
        if self.count < 1 or (self.index is not None and self.index < 0):
            raise ValueError("a region lies on one image or more, from index 0 on")
        return self

    @property
    def middle(self) -> int:
        """The index of the middle one of its images."""
        return (self.index or 0) + (self.count - 1) // 2

    def lies_on(self, plane: str, index: int) -> bool:
        """Whether it lies on that image of its study; one without a plane lies on all."""
        if self.plane is None or self.index is None:
            return True
        return plane == self.plane and self.index <= index < self.index + self.count
