"""Work on large images in strips of rows, so that no step holds a second copy of the whole.

Each result is the same to the last bit as that of the whole at once: every step takes each pixel by
itself.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP = 2**18
"""Pixels of a strip. An image that has no more is one strip."""


_LARGE = 16 * STRIP
_SHOWING = tuple(Lock() for _ in range(64))
_AT_ONCE: AbstractContextManager[Any] = nullcontext()


def one_at_a_time(study: object, box_px: tuple[float, float, float, float]) -> Any:
    """Held while a large region of a study is shown: the members of a group show the same image,
    and each holds a copy of the region meanwhile."""
    x0, y0, x1, y1 = box_px
    if (x1 - x0) * (y1 - y0) <= _LARGE:
        return _AT_ONCE
    return _SHOWING[id(study) // 64 % len(_SHOWING)]


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """The rows of each strip of an image of this shape."""
    rows = max(1, STRIP // max(1, shape[1]))
    for top in range(0, shape[0], rows):
        yield slice(top, min(top + rows, shape[0]))


def mapped(
    pixels: NDArray[Any], dtype: type[np.generic], step: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[Any]:
    """What `step` makes of (height, width) pixels, strip by strip, as an array of `dtype`."""
    if pixels.size <= STRIP:
        return np.asarray(step(pixels), dtype=dtype)
    made = np.empty(pixels.shape, dtype)
    for rows in strips(pixels.shape):
        made[rows] = step(pixels[rows])
    return made


def pixels_of(picture: Image.Image, dtype: type[np.generic], mode: str | None = None) -> Any:
    """The pixels of a decoded picture as an array of its own, converted to `mode`."""

    def converted(part: Image.Image) -> NDArray[Any]:
        return np.array(part if mode in (None, part.mode) else part.convert(mode), dtype=dtype)

    width, height = picture.size
    if width * height <= STRIP:
        return converted(picture)
    made = np.empty((height, width, 3) if mode == "RGB" else (height, width), dtype)
    for rows in strips((height, width)):
        made[rows] = converted(picture.crop((0, rows.start, width, rows.stop)))
    return made


def finite_range(
    values: NDArray[Any], hidden: NDArray[np.bool_] | None = None
) -> tuple[float, float] | None:
    """The least and the greatest of all finite values that are not hidden; None for none."""
    ranges = []
    for rows in strips(values.shape):
        counted = np.isfinite(values[rows])
        if hidden is not None:
            counted &= ~hidden[rows]
        finite = values[rows][counted]
        if finite.size:
            ranges.append((float(finite.min()), float(finite.max())))
    if not ranges:
        return None
    return min(low for low, _ in ranges), max(high for _, high in ranges)
