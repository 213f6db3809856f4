"""A level of a slide as an image of an episode: its pixels stay in the file.

A view of it is drawn from the coarsest level that still has a pixel for each of the view's, so that
an overview costs no more than a detail. Boxes are in the pixels of the image's own level.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.errors import UserError
from medgym.imaging.limits import MAX_PIXELS
from medgym.imaging.rendering import Box, Study
from medgym.imaging.slides.file import SlideFile

BAND = 2**22
"""Pixels that are read at once while a view is drawn."""

_NEARLY = 1e-6

Region = tuple[int, int, int, int]


class LevelPixels:
    """(height, width, 3) pixels of a region of a level, which are read when they are asked for.

    `pixels[y0:y1, x0:x1]` reads that part.
    """

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, file: SlideFile, level: int, region: Region) -> None:
        self.file = file
        self.level = level
        self.region = region
        x0, y0, x1, y1 = region
        self.shape = (y1 - y0, x1 - x0, 3)
        self.size = math.prod(self.shape)
        self.nbytes = self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def astype(self, dtype: Any) -> NDArray[Any]:
        """All pixels as an array of that type."""
        return self[:].astype(dtype)

    def tobytes(self) -> bytes:
        """All pixels, row by row."""
        return self[:].tobytes()

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = key if isinstance(key, tuple) else (key,)
        sides = [self._range(side, given) for side, given in zip((0, 1), keys[:2], strict=False)]
        sides += [slice(0, length) for length in self.shape[len(sides) : 2]]
        rows, columns = sides
        width, height = columns.stop - columns.start, rows.stop - rows.start
        if width * height > MAX_PIXELS:
            raise UserError(
                f"{width:,} x {height:,} pixels of {self.file.path} are more than {MAX_PIXELS:,}; "
                "fix: ask for a part, or for a coarser level"
            )
        if not width * height:
            return np.zeros((height, width, 3), np.uint8)
        left, top = self.region[0] + columns.start, self.region[1] + rows.start
        made = np.empty((height, width, 3), np.uint8)
        step = max(1, BAND // width)
        for first in range(0, height, step):
            count = min(step, height - first)
            made[first : first + count] = self.file.read(
                self.level, left, top + first, width, count
            )[0]
        return np.asarray(made[(slice(None), slice(None), *keys[2:])])

    def _range(self, side: int, given: Any) -> slice:
        if not isinstance(given, slice):
            raise TypeError("pixels of a slide are read as pixels[y0:y1, x0:x1]")
        start, stop, step = given.indices(self.shape[side])
        if step != 1:
            raise TypeError("pixels of a slide are read as pixels[y0:y1, x0:x1]")
        return slice(start, max(start, stop))


class SlideImage(Study):
    """A region of a level of a slide. `pixels` are `LevelPixels`."""

    def __post_init__(self) -> None:
        """Refuses a region that cannot be shown whole."""
        pixels = _in_file(self)
        if pixels is None:
            super().__post_init__()
            return
        width, height = self.size
        whole = _box_at(pixels, len(pixels.file.levels) - 1, (0.0, 0.0, width, height))
        if _cost(whole) > MAX_PIXELS:
            raise UserError(
                f"{pixels.file.path} has no level small enough to show it whole; fix: save it "
                "with levels, or ask for a part"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if _in_file(self) is None:
            super().__setstate__(state)

    def render(self, box_px: Box, size: tuple[int, int]) -> Image.Image:
        """See `Study.render`. Pixels come from the coarsest level that has enough of them."""
        pixels = _in_file(self)
        if pixels is None:
            return super().render(box_px, size)
        level = _fitting(pixels, box_px, size)
        x0, y0, x1, y1 = _box_at(pixels, level, box_px)
        rows = max(1, math.floor(BAND * size[1] / max(1.0, _cost((x0, y0, x1, y1)))))
        if rows >= size[1]:
            return _drawn(pixels.file, level, (x0, y0, x1, y1), size)
        made = Image.new("RGB", size)
        for first in range(0, size[1], rows):
            end = min(first + rows, size[1])
            top, bottom = (y0 + (y1 - y0) * row / size[1] for row in (first, end))
            band = _drawn(pixels.file, level, (x0, top, x1, bottom), (size[0], end - first))
            made.paste(band, (0, first))
        return made


def _in_file(image: SlideImage) -> LevelPixels | None:
    """The pixels of an image, where they are still in the file."""
    pixels: object = image.pixels
    return pixels if isinstance(pixels, LevelPixels) else None


def _drawn(file: SlideFile, level: int, box: Box, size: tuple[int, int]) -> Image.Image:
    """A box, in the pixels of a level of the whole slide."""
    across, down = file.levels[level].size
    right, bottom = min(across, math.ceil(box[2])), min(down, math.ceil(box[3]))
    # The last pixels of a slide may lie within none of a coarse level.
    left = min(max(0, math.floor(box[0])), right - 1)
    top = min(max(0, math.floor(box[1])), bottom - 1)
    part, (x, y) = file.read(level, left, top, right - left, bottom - top)
    inner = (
        min(max(box[0] - x, 0.0), right - left - 0.5),
        min(max(box[1] - y, 0.0), bottom - top - 0.5),
        min(box[2] - x, float(right - left)),
        min(box[3] - y, float(bottom - top)),
    )
    return Study(part).render(inner, size)


def _fitting(pixels: LevelPixels, box_px: Box, size: tuple[int, int]) -> int:
    """The coarsest level with enough pixels for a view, or the first that is cheap enough."""
    levels = pixels.file.levels
    gained = min((box_px[2] - box_px[0]) / size[0], (box_px[3] - box_px[1]) / size[1])
    most = levels[pixels.level].factor * gained * (1 + _NEARLY)
    enough = [
        number for number in range(pixels.level, len(levels)) if levels[number].factor <= most
    ]
    first = max([pixels.level, *enough])
    for number in range(first, len(levels)):
        if _cost(_box_at(pixels, number, box_px)) <= MAX_PIXELS:
            return number
    return len(levels) - 1


def _box_at(pixels: LevelPixels, level: int, box_px: Box) -> Box:
    """A box of an image in the pixels of a level of the whole slide."""
    left, top = pixels.region[:2]
    levels = pixels.file.levels
    scale = levels[pixels.level].factor / levels[level].factor
    x0, y0, x1, y1 = box_px
    return (left + x0) * scale, (top + y0) * scale, (left + x1) * scale, (top + y1) * scale


def _cost(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
