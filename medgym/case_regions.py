"""Places in a case's images: masks, gold regions, and views that are shown from the start."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from medgym.imaging.study import Box, Slab, Window


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

    In a volume, `plane` and `indices` say where the box lies: in the images of a plane from the
    first index up to and without the second, as `[12, 17]`. Where they are left out, it is what
    the case's image names. A finding that is seen in several planes has a region in each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    box_px: Box
    mask: Mask | None = None
    image: int = 0
    plane: str | None = None
    indices: tuple[int, int] | None = None


class CaseView(BaseModel):
    """A region of an image that an episode shows from the start, and who points to it.

    It is drawn from the image's own pixels. `box_px` is in original pixels. Without `plane` and
    `index` it is of what the image starts with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: int
    box_px: Box
    by: str = ""
    plane: str | None = None
    index: int | None = None
    slab: Slab | None = None
    window: Window | None = None
