"""How bright a structure is, and what directly surrounds it: in Hounsfield units where known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgym.errors import ToolError

from .measure import Runs
from .request import Binary, SegmentRequest

RIM = 0.1
"""Width of what directly surrounds a structure, as a share of its longer side; at least 2 pixels
of those that are looked at."""

MOST = 2**18
"""Pixels that are looked at, at most; of a larger region every nth, along rows and columns."""

UNLIKE = 0.6
"""By how much two contrasts differ at most that are alike, as a share of the greater one."""


@dataclass(frozen=True)
class Intensity:
    """Mean values. `around` is None where the structure fills the image; `unit` is None for grey
    levels of 0 to 255, as the view shows them. `spread` is the standard deviation around it."""

    inside: float
    around: float | None
    unit: str | None
    spread: float = 0.0

    def stands_out_as(self, other: "Intensity") -> bool:
        """Whether a structure is brighter or darker than its surroundings about as much as another,
        or differs from that by less than its surroundings vary."""
        if self.around is None or other.around is None:
            return True
        one, two = self.inside - self.around, other.inside - other.around
        apart = abs(one - two)
        return apart <= max(UNLIKE * max(abs(one), abs(two)), self.spread, other.spread)

    def __str__(self) -> str:
        unit = "grey" if self.unit is None else self.unit
        around = "" if self.around is None else f" and {self.around:.0f} around"
        return f"mean {unit} {self.inside:.0f} inside{around}"


def intensity(request: SegmentRequest, runs: Runs) -> Intensity | None:
    """The mean inside and in the rim around; None where no pixel there holds a measurement."""
    x0, y0, x1, y1 = (int(edge) for edge in runs.box_px)
    margin = max(2, round(RIM * max(x1 - x0, y1 - y0)))
    width, height = request.size
    left, top = max(0, x0 - margin), max(0, y0 - margin)
    right, bottom = min(width, x1 + margin), min(height, y1 + margin)
    step = max(1, int(np.ceil(np.sqrt((right - left) * (bottom - top) / MOST))))
    inside = runs.within((left, top, right, bottom), step)
    values, unit = _values(request, (left, top, right, bottom), step)
    known = np.isfinite(values)
    rim = _grown(inside, max(1, margin // step)) & ~inside & known
    inside = inside & known
    if not inside.any():
        return None
    mean = float(values[inside].mean())
    if not rim.any():
        return Intensity(mean, None, unit)
    return Intensity(mean, float(values[rim].mean()), unit, float(values[rim].std()))


def _values(
    request: SegmentRequest, box: tuple[int, int, int, int], step: int
) -> tuple[NDArray[np.float64], str | None]:
    left, top, right, bottom = box
    shape = -(-(bottom - top) // step), -(-(right - left) // step)
    try:
        study = request.image.at(request.place)
    except ToolError:  # too large to be decoded whole: a slide, which has colours
        picture = request.picture((left, top, right, bottom), (shape[1], shape[0]))
        return picture.mean(-1, dtype=np.float64), None
    part = study.pixels[top:bottom:step, left:right:step]
    if study.unit is None and study.window is not None:
        part = study.window.greys(part)
    values = part.mean(-1, dtype=np.float64) if part.ndim == 3 else part.astype(np.float64)
    if study.hidden is not None:
        values[study.hidden[top:bottom:step, left:right:step]] = np.nan
    return values, study.unit


def _grown(inside: Binary, margin: int) -> Binary:
    from scipy.ndimage import distance_transform_edt

    grown: Binary = distance_transform_edt(~inside) <= margin
    return grown
