"""Pixels of any depth as the greys in which they are shown, and back.

A grey of 0 is shown black, of 1 white. Values beyond the window are greys beyond these, so that
nothing is lost that another window would show.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.grey import LookupTable
from medgym.imaging.study import Study

Greys = NDArray[np.float32]


@dataclass(frozen=True)
class GreyScale:
    """Which values of an image are shown black and white.

    Attributes:
        low, width: the value at the low end of what is shown, and how far the other end lies.
        inverted: the low end is white.
        least, greatest: the range of the image's own values and of what is shown, which no
            corruption leaves.
    """

    low: float
    width: float
    inverted: bool
    least: float
    greatest: float

    @classmethod
    def of(cls, study: Study) -> "GreyScale":
        """That of a decoded image."""
        pixels, window = study.pixels, study.window
        if window is None:
            return cls(0.0, 255.0, False, 0.0, 255.0)
        measured = pixels if study.hidden is None else pixels[~study.hidden]
        measured = measured[np.isfinite(measured)]
        if isinstance(window, LookupTable):
            low, width = float(window.first), float(len(window.levels) - 1)
        else:
            low, width = window.centre - window.width / 2, window.width
        width = max(width, 1e-6)
        least = min(low, float(measured.min())) if measured.size else low
        greatest = max(low + width, float(measured.max())) if measured.size else low + width
        return cls(low, width, window.inverted, least, greatest)

    def greys(self, pixels: NDArray[Any]) -> Greys:
        """The greys of values; what is no number is black."""
        if pixels.dtype == np.uint8 and not self.inverted:
            return (pixels.astype(np.float32) - np.float32(self.low)) / np.float32(self.width)
        found = (pixels.astype(np.float64) - self.low) / self.width
        if self.inverted:
            found = 1.0 - found
        return np.nan_to_num(found.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)

    def values(self, greys: Greys, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The values of greys, within the range of the image."""
        exact = np.float32 if dtype == np.uint8 else np.float64
        found: NDArray[Any] = greys.astype(exact)
        if self.inverted:
            found = 1.0 - found
        found = np.clip(found * exact(self.width) + exact(self.low), self.least, self.greatest)
        return (found if dtype.kind == "f" else np.rint(found)).astype(dtype)


def shown(greys: Greys) -> Greys:
    """The part of greys that is shown: from 0 to 1."""
    return np.clip(greys, 0.0, 1.0)
