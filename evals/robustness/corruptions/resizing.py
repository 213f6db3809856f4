"""Greys on coarser grids and back, and convolution; all for one channel or three."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .greys import Greys

SIDE = 224
"""The short side of the images for which the strengths are given."""


def enlargement(greys: Greys) -> float:
    """How many pixels of an image make one of an image whose short side has `SIDE`."""
    height, width = greys.shape[:2]
    return float(min(height, width)) / SIDE


def resized(
    greys: Greys,
    size: tuple[int, int],
    how: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> Greys:
    """Greys, or a box of them, at another size (width, height)."""
    return by_channel(
        greys,
        lambda each: np.asarray(
            Image.fromarray(np.ascontiguousarray(each)).resize(size, how, box), np.float32
        ),
    )


def coarse(greys: Greys, side: float = SIDE) -> Greys:
    """The means of blocks, so that the short side has at most `side` blocks."""
    height, width = greys.shape[:2]
    factor = min(1.0, side / min(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return greys if size == (width, height) else resized(greys, size, Image.Resampling.BOX)


def spread(field: NDArray[Any], like: Greys) -> Greys:
    """A coarse field on the pixels of an image: each of its values fills a block."""
    height, width = like.shape[:2]
    rows = np.arange(height) * field.shape[0] // height
    columns = np.arange(width) * field.shape[1] // width
    found: Greys = field[rows[:, None], columns[None, :]]
    return found


def by_channel(greys: Greys, change: Callable[[Greys], Greys]) -> Greys:
    """What a change of one channel makes of one or three."""
    if greys.ndim == 2:
        return change(greys)
    return np.stack([change(greys[..., channel]) for channel in range(greys.shape[2])], axis=2)


def convolved(greys: Greys, kernel: Greys) -> Greys:
    """Greys convolved with a kernel of odd sides whose sum is 1; beyond the border they go on
    mirrored."""
    high, wide = (side // 2 for side in kernel.shape)
    sides = greys.shape[0] + 4 * high, greys.shape[1] + 4 * wide
    spectrum = np.fft.rfft2(kernel, sides)

    def one(each: Greys) -> Greys:
        padded = np.pad(each, ((high, high), (wide, wide)), mode="symmetric")
        found = np.fft.irfft2(np.fft.rfft2(padded, sides) * spectrum, sides)
        height, width = each.shape
        return found[2 * high : 2 * high + height, 2 * wide : 2 * wide + width].astype(np.float32)

    return by_channel(greys, one)
