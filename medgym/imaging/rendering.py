"""One decoded image, and how any region of it is rendered.

A `Study` holds original pixels and never changes. Everything that a policy sees comes from
`Study.render`, which always starts from the original pixels. It shrinks by area averaging: each
output pixel is the mean of only its own block, so nothing aliases and nothing leaks across blocks.
It enlarges bicubically.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.imaging.grey import LookupTable, Window
from medgym.imaging.read_only import read_only
from medgym.imaging.spacing import Spacing, credible_spacing
from medgym.imaging.strips import mapped, one_at_a_time

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1), origin top left, end exclusive. A variable's name says its frame (`_px`)."""

MAX_PIXEL_ASPECT = 16
"""The greatest ratio of the sides of a pixel that is drawn true."""


@dataclass(frozen=True, eq=False)
class Study:
    """One decoded image: what a plane of an `ImagingStudy` has at one index.

    Attributes:
        pixels: (height, width) or (height, width, 3) uint8, or values of another type together
            with a `window`. Values mean what the modality says, such as Hounsfield units; what the
            file marks as no number is NaN. Read-only for good.
        spacing_mm: millimetres of the patient per pixel as (row, column), None if unknown or
            absurd. A spacing at the detector is none.
        modality: DICOM modality code, None if unknown.
        window: how values become grey; None for uint8 pixels.
        view_sizes: the view sizes at which the whole image may be shown; None for any. A source
            sets it if an overview of another size would give away what a tool has to find.
        pixel_aspect: the height of a pixel divided by its width, at the patient; by default that
            of `spacing_mm`, else 1.
        calibrated: the regions of the image in which alone there are millimetres, each with its
            spacing, such as the scan in the picture of an ultrasound device.
        hidden: the pixels that hold no measurement and are shown black: padding, and what lies
            outside the shutter; None for none.
        unit: what the values measure, "HU" or "Gy"; None if unknown.
        original: the image that this one was made of, where a source changed it, such as by noise;
            a tool that must not return the case that is played compares that one too.
    """

    pixels: NDArray[Any]
    spacing_mm: Spacing | None = None
    modality: str | None = None
    window: Window | LookupTable | None = None
    view_sizes: tuple[int, ...] | None = None
    pixel_aspect: float | None = None
    calibrated: tuple[tuple[Box, Spacing], ...] = ()
    hidden: NDArray[np.bool_] | None = None
    unit: Literal["HU", "Gy"] | None = None
    original: "Study | None" = None

    def __post_init__(self) -> None:
        if (self.pixels.ndim != 2 and self.pixels.shape[2:] != (3,)) or not self.pixels.size:
            raise ValueError(f"pixels of shape {self.pixels.shape} are neither grey nor RGB")
        if self.pixels.dtype != np.uint8 and self.window is None:
            raise ValueError(f"{self.pixels.dtype} pixels need to have a window")
        if self.hidden is not None and self.hidden.shape != self.pixels.shape[:2]:
            raise ValueError(f"hidden pixels of shape {self.hidden.shape} are not those of pixels")
        if self.pixels.dtype.kind not in "uif":
            raise ValueError(f"{self.pixels.dtype} pixels are no numbers")
        object.__setattr__(self, "pixels", read_only(self.pixels))
        if self.hidden is not None:
            object.__setattr__(self, "hidden", read_only(self.hidden))
        object.__setattr__(self, "spacing_mm", credible_spacing(self.spacing_mm))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, pixels=read_only(state["pixels"]))
        if self.hidden is not None:
            vars(self)["hidden"] = read_only(self.hidden)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in original pixels."""
        height, width = self.pixels.shape[:2]
        return width, height

    def spacing_in(self, box_px: Box) -> Spacing | None:
        """Millimetres of the patient per pixel as (row, column) within a box, None if unknown."""
        if self.spacing_mm is not None:
            return self.spacing_mm
        x0, y0, x1, y1 = box_px
        for (left, top, right, bottom), spacing in self.calibrated:
            if left <= x0 and top <= y0 and x1 <= right and y1 <= bottom:
                return spacing
        return None

    def true_size(self, width: float, height: float) -> tuple[float, float]:
        """The sides of a region of pixels, with the proportions that they have at the patient.

        The unit is the shorter side of a pixel, so neither side gets fewer pixels than it has.
        """
        aspect = self.pixel_aspect
        if aspect is None:
            aspect = self.spacing_mm[0] / self.spacing_mm[1] if self.spacing_mm else 1.0
        aspect = min(max(aspect, 1 / MAX_PIXEL_ASPECT), float(MAX_PIXEL_ASPECT))
        return (width, height * aspect) if aspect >= 1 else (width / aspect, height)

    def _shown(self, left: int, top: int, right: int, bottom: int) -> Image.Image:
        part = self.pixels[top:bottom, left:right]
        if self.window is not None:
            grey = mapped(part, np.uint8, self.window.greys)
            if self.hidden is not None:
                grey[self.hidden[top:bottom, left:right]] = 0
            return Image.fromarray(grey)
        if self.hidden is not None:
            part = part.copy()
            part[self.hidden[top:bottom, left:right]] = 0
        elif self.pixels.ndim == 2 and self.pixels.flags.c_contiguous:
            # Pillow can use grey pixels without a copy if whole rows follow each other in memory.
            step = self.pixels.shape[1]
            rest = self.pixels.reshape(-1)[top * step + left :][: step * (bottom - top)]
            if len(rest) == step * (bottom - top):
                size = (right - left, bottom - top)
                return Image.frombuffer("L", size, rest, "raw", "L", step, 1)
        return Image.fromarray(np.ascontiguousarray(part))

    def render(self, box_px: Box, size: tuple[int, int]) -> Image.Image:
        """The region `box_px` (original pixels) resampled to `size` (width, height), as RGB.

        If whole pixels shrink by whole factors, each output pixel is the rounded mean of only its
        own block, exactly so for factors that are powers of two. Only the pixels under the box are
        read, so it costs as much as a bare crop and resize.
        """
        with one_at_a_time(self, box_px):
            return self._rendered(box_px, size)

    def _rendered(self, box_px: Box, size: tuple[int, int]) -> Image.Image:
        x0, y0, x1, y1 = box_px
        width, height = self.size
        left, top = max(int(np.floor(x0)), 0), max(int(np.floor(y0)), 0)
        right, bottom = min(int(np.ceil(x1)), width), min(int(np.ceil(y1)), height)
        picture = self._shown(left, top, right, bottom)
        inner = (x0 - left, y0 - top, x1 - left, y1 - top)
        if _is_whole(picture, inner):
            # `resize` rounds after each axis, `reduce` once.
            factors = (_factor(picture.width, size[0]), _factor(picture.height, size[1]))
            picture = picture.reduce(factors) if factors != (1, 1) else picture
            inner = (0.0, 0.0, float(picture.width), float(picture.height))
        if size != picture.size or not _is_whole(picture, inner):
            picture = _resized(picture, inner, size)
        # Merging gives the same bytes as converting grey, in a third of the time.
        return Image.merge("RGB", (picture,) * 3) if picture.mode == "L" else picture


def _is_whole(picture: Image.Image, box: Box) -> bool:
    return box == (0.0, 0.0, float(picture.width), float(picture.height))


def _factor(length: int, wanted: int) -> int:
    return length // wanted if length % wanted == 0 else 1


def _resized(picture: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Resample each axis: by area average if it shrinks, by interpolation if it grows.

    Both axes are resampled at once if both shrink or both grow, else the one that shrinks first.
    """
    x0, y0, x1, y1 = box
    across, down = size[0] <= x1 - x0, size[1] <= y1 - y0
    if across != down:
        wide, high = float(picture.width), float(picture.height)
        middle = (size[0], picture.height) if across else (picture.width, size[1])
        strip = (x0, 0.0, x1, high) if across else (0.0, y0, wide, y1)
        picture = picture.resize(middle, Image.Resampling.BOX, strip)
        box = (0.0, y0, float(size[0]), y1) if across else (x0, 0.0, x1, float(size[1]))
    shrinks = across and down
    resample = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return picture.resize(size, resample, box)
