"""How values become grey: windows and lookup tables, as PS3.3 C.11.2 defines them.

All is calculated in float64, so that a window finds its levels in values of any size. What is not a
number is black.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.strips import finite_range, strips

WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
Greys = NDArray[np.uint8]


@dataclass(frozen=True)
class Window:
    """The range of values that is shown.

    Attributes:
        centre, width: in the unit of the values.
        function: LINEAR_EXACT maps `centre` ± `width`/2 to 0..255. LINEAR, the default of DICOM,
            maps `centre` - 0.5 ± (`width` - 1)/2; a LINEAR window narrower than 1, which the
            standard forbids, is read as LINEAR_EXACT. SIGMOID maps all values to a curve.
        inverted: low values are white.
    """

    centre: float
    width: float
    function: WindowFunction = "LINEAR_EXACT"
    inverted: bool = False

    def greys(self, values: NDArray[Any]) -> Greys:
        """The grey level of each value, 0 to 255."""
        levels = np.array(values, np.float64)
        centre, width = self.centre, self.width
        if self.function == "LINEAR" and width >= 1:
            centre, width = centre - 0.5, width - 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            levels -= centre
            if width == 0:
                levels = np.where(levels > 0, 255.0, np.where(levels <= 0, 0.0, np.nan))
            elif self.function == "SIGMOID":
                levels /= width
                levels *= -4.0
                np.exp(levels, out=levels)
                levels += 1.0
                np.divide(255.0, levels, out=levels)
            else:
                levels /= width
                levels += 0.5
                levels *= 255.0
        return _rounded(levels, self.inverted)


@dataclass(frozen=True)
class LookupTable:
    """A table of grey levels: value `first` has the first of `levels`; the values before and behind
    the table have its first and last level."""

    first: int
    levels: bytes
    inverted: bool = False

    def greys(self, values: NDArray[Any]) -> Greys:
        """The grey level of each value, 0 to 255."""
        places = np.rint(np.array(values, np.float64)) - self.first
        unknown = np.isnan(places)
        places = np.where(unknown, 0.0, np.clip(places, 0, len(self.levels) - 1))
        levels = np.frombuffer(self.levels, np.uint8)[places.astype(np.intp)].astype(np.float64)
        levels[unknown] = np.nan
        return _rounded(levels, self.inverted)


class UnreadableValues(ValueError):
    """Pixels have values that are not read; the text, which is medgym's own, says what they are."""


def _rounded(levels: NDArray[np.float64], inverted: bool) -> Greys:
    np.clip(levels, 0.0, 255.0, out=levels)
    np.rint(levels, out=levels)
    if inverted:
        np.subtract(255.0, levels, out=levels)
    if math.isnan(float(levels.sum())):
        np.nan_to_num(levels, copy=False, nan=0.0)
    return levels.astype(np.uint8)


PRESETS = {
    "lung": Window(-600, 1500, "LINEAR"),
    "bone": Window(400, 1800, "LINEAR"),
    "brain": Window(40, 80, "LINEAR"),
    "soft tissue": Window(40, 400, "LINEAR"),
    "liver": Window(60, 160, "LINEAR"),
    "mediastinum": Window(50, 350, "LINEAR"),
}
"""Windows in Hounsfield units that radiologists use."""


def full_window(
    values: NDArray[Any], hidden: NDArray[np.bool_] | None = None, *, inverted: bool = False
) -> Window:
    """The window from the least to the greatest of all finite values that are not hidden.

    An image of one value has nothing to show: it is black.
    """
    low, high = finite_range(values, hidden) or (0.0, 0.0)
    if low == high:
        width = max(1.0, abs(low))  # the value lies a width below what is shown, or above it
        return Window(low - width if inverted else low + width, width, inverted=inverted)
    centre = low / 2 + high / 2 if math.isinf(low + high) else (low + high) / 2
    width = high - low
    return Window(centre, width if math.isfinite(width) else 1.7e308, inverted=inverted)


EXACT_FLOAT32, EXACT_FLOAT64 = 2**24, 2**53
"""The largest whole numbers up to which a float holds all of them."""


def as_floats(values: NDArray[Any]) -> NDArray[Any]:
    """The same values as float32 where that holds each of them exactly, else as float64.

    Raises:
        ValueError: they are whole numbers that float64 does not hold.
    """
    if values.dtype.kind in "ui" and values.dtype.itemsize <= 2:
        return values.astype(np.float32)
    if values.dtype.kind in "ui":
        low, high = int(values.min()), int(values.max())
        most = max(-low, high)
        if most > EXACT_FLOAT64:
            raise UnreadableValues("whole numbers beyond 2^53")
        return values.astype(np.float32 if most <= EXACT_FLOAT32 else np.float64)
    if values.dtype.itemsize <= 4:
        return values.astype(np.float32)
    with np.errstate(over="ignore"):
        for rows in strips(values.shape):
            part = values[rows]
            if not np.array_equal(part.astype(np.float32), part, equal_nan=True):
                return values.astype(np.float64)
        return values.astype(np.float32)
