"""The four textures of a lesion in a phantom study, and the grids on which they lie.

Grains in two sizes, along each axis one of them: of one half-period, or of two. In each square of
two half-periods a side that lies on the grid, every row and every column has each of the two tones
equally often. So, whichever the kind:

- a view of a whole image, whose pixels are means over such squares, is the same;
- so is a projection along the rows or along the columns of the lesion, be it a mean, a maximum or a
  minimum.

A lesion is otherwise of one value, and what lies above and below it in other images of the stack is
of one value in each square. So all this holds under every window, and for slabs as well: kinds only
change places within squares.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = ("granular", "lamellar", "columnar", "nodular")
"""Grains that are small, wide, tall, and large."""

_GRAINS = {"granular": (1, 1), "lamellar": (2, 1), "columnar": (1, 2), "nodular": (2, 2)}
"""Width and height of a grain in half-periods."""


@dataclass(frozen=True)
class StudyGrid:
    """The grid of one image side, all in pixels.

    Attributes:
        half_period: the side of the smallest grain.
        block: the side of a block, of which a lesion consists: a 32nd of the image's, and a
            multiple of four half-periods.
    """

    half_period: int
    block: int

    @property
    def square(self) -> int:
        """The side of a square in which the kinds only change places."""
        return 2 * self.half_period


GRIDS = {
    128: StudyGrid(1, 4),
    256: StudyGrid(2, 8),
    512: StudyGrid(4, 16),
    1024: StudyGrid(2, 32),
    2048: StudyGrid(2, 64),
    4096: StudyGrid(2, 128),
}
"""The grid of each image side: of stacks, then of slides, whose finest level has so many pixels."""

LEAST_VIEW, MOST_VIEW = 32, 512


def view_sizes(size: int) -> tuple[int, ...]:
    """The sides of view at which an image of `size` hides the kind."""
    sides, side = [], LEAST_VIEW
    while side <= min(MOST_VIEW, size // GRIDS[size].square):
        sides.append(side)
        side *= 2
    return tuple(sides)


def tile(kind: str, grid: StudyGrid) -> NDArray[np.bool_]:
    """Where one block of the texture `kind` has its second tone: (block, block) booleans."""
    steps = np.arange(grid.block) // grid.half_period
    # Large grains begin with half of one: only so do the squares hold the tones equally often.
    across, down = ((steps + side - 1) // side for side in _GRAINS[kind])
    second: NDArray[np.bool_] = np.equal((across[None, :] + down[:, None]) % 2, 1)
    return second
