"""How far an answer's outline is from the gold's: HD95 and NSD, by surface-distance.

Distances are in millimetres where the image says its spacing at the patient, else in pixels of the
image; in a volume all three of its spacings must be known. Where both sides are not in one image
and one plane there is no distance.
"""

import importlib.util
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medgym.cases import Case
from medgym.errors import UserError
from medgym.imaging.imaging_study import IMAGE, ImagingStudy, Plane
from medgym.imaging.study import open_study
from medgym.metrics.extents import frame_of, layers
from medgym.regions import Region

from .grammar import MOST_PIXELS

Unit = Literal["mm", "pixels"]

TOLERANCE = 2.0
"""How far a surface may be off for NSD, in millimetres, or in pixels where these are not known."""


@dataclass(frozen=True)
class Surface:
    """How far two outlines are apart.

    Attributes:
        hd95: the greater of the two 95th percentiles of the distances from one to the other.
        nsd: the share of both outlines that is within `TOLERANCE` of the other, from 0 to 1.
        unit: of `hd95` and of the tolerance.
    """

    hd95: float
    nsd: float
    unit: Unit


def is_installed() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec("surface_distance") is not None


def surface(case: Case, given: Sequence[Region], gold: Sequence[Region]) -> Surface | None:
    """The distances between an answer and the gold, both in original pixels; None where there is
    none, or the library is not there. What lies outside of the image does not count."""
    size = None if not gold else _size_of(case, gold[0])
    sides = [_voxels(side, [*given, *gold], size) for side in (given, gold)]
    if not is_installed() or sides[0] is None or sides[1] is None:
        return None
    one, other = sides[0], sides[1]
    if not one.any() or not other.any():
        return None
    spacing = spacing_mm(case, gold[0], deep=one.shape[0] > 1)
    unit: Unit = "pixels" if spacing is None else "mm"
    steps: tuple[float, ...] = spacing or (1.0, 1.0, 1.0)
    if one.shape[0] == 1:
        one, other, steps = one[0], other[0], steps[1:]
    return _measured(one, other, steps, unit)


def _measured(
    one: NDArray[np.bool_], other: NDArray[np.bool_], steps: Sequence[float], unit: Unit
) -> Surface | None:
    from surface_distance import metrics

    with warnings.catch_warnings():  # it uses names that scipy will drop
        warnings.simplefilter("ignore", DeprecationWarning)
        distances: Any = metrics.compute_surface_distances(other, one, steps)
    hd95 = float(metrics.compute_robust_hausdorff(distances, 95))
    nsd = float(metrics.compute_surface_dice_at_tolerance(distances, TOLERANCE))
    return Surface(hd95, nsd, unit) if math.isfinite(hd95) and math.isfinite(nsd) else None


def _voxels(
    side: Sequence[Region], both: Sequence[Region], size: tuple[int, int] | None
) -> NDArray[np.bool_] | None:
    """(images, height, width) of what holds both sides; None where they are in several images, or
    one has nothing in the image, which is of this (width, height)."""
    places = {(region.image, region.plane) for region in both}
    if len(places) != 1 or not side:
        return None
    left, top, right, bottom = frame_of(both)
    if size is not None:
        left, top = max(left, 0), max(top, 0)
        right, bottom = max(left, min(right, size[0])), max(top, min(bottom, size[1]))
    first = min(region.index or 0 for region in both)
    end = max((region.index or 0) + region.count for region in both)
    if (right - left) * (bottom - top) * (end - first) > MOST_PIXELS:
        return None
    made = np.zeros((end - first, bottom - top, right - left), bool)
    for region, layer in zip(side, layers(side, (left, top, right, bottom)), strict=True):
        start = (region.index or 0) - first
        made[start : start + region.count] |= layer
    return made


def _opened(case: Case, region: Region) -> tuple[ImagingStudy, str, Plane | None]:
    """The study that a region is of, and the plane of it, if it is there."""
    study = open_study(case.images[region.image])
    plane = region.plane or case.images[region.image].plane or IMAGE
    return study, plane, study.planes.get(plane)


def _size_of(case: Case, region: Region) -> tuple[int, int] | None:
    """The (width, height) of the images of a region's plane; None where they are not here."""
    try:
        held = _opened(case, region)[2]
    except (UserError, IndexError):
        return None
    return None if held is None else held.size


def spacing_mm(case: Case, region: Region, *, deep: bool) -> tuple[float, float, float] | None:
    """Millimetres from image to image, from row to row and from column to column, at the patient;
    None where one of them is not known. From image to image is 1 where it does not count."""
    try:
        study, plane, held = _opened(case, region)
        if held is None or held.spacing_mm is None or held.spacing_origin != "patient":
            return None
        between = 1.0
        if deep and region.index is not None:
            places = [study.place_mm(plane, region.index + step) for step in (0, 1)]
            if places[0] is None or places[1] is None:
                return None
            between = abs(places[1] - places[0])
    except (UserError, IndexError):  # the image is not here any more
        return None
    return (between, *held.spacing_mm) if between > 0 else None
