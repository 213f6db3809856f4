"""Where a view shows gold regions: for each of its pixels, how much of it they cover."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medgym.cases import Case, Mask, Region
from medgym.imaging.imaging_study import IMAGE
from medgym.imaging.study import Box, ImageRef, open_image
from medgym.metrics.regions import findings
from medgym.trajectory import Trajectory

ROUNDING = 1e-6
"""The share of a pixel that a region may seem to cover because boxes are rounded."""


def part_shown(case: Case, trajectory: Trajectory, view: int) -> tuple[int, Box] | None:
    """Which image of the case a view shows, and which box of it in original pixels.

    Views are numbered as they were shown: the whole images, the case's own views, and then the
    looks of the tools. None for a view that neither the case nor the trajectory knows, for one of
    a study of many images, and for one in a window: those have more than a box.
    """
    if 0 <= view < len(case.images):
        if case.images[view].plane is not None:
            return None
        width, height = image_size(case, view)
        return view, (0.0, 0.0, float(width), float(height))
    start = len(trajectory.nodes[0].images)
    if view < start:
        own = view - len(case.images)
        if not 0 <= own < len(case.views):
            return None
        given = case.views[own]
        named = (given.plane, given.index, given.slab, given.window)
        return (given.image, given.box_px) if named == (None,) * 4 else None
    if view - start >= len(trajectory.looks):
        return None
    look = trajectory.looks[view - start]
    place = (look.plane, look.index, look.slab, look.window)
    return (look.image, look.box_px) if place == (IMAGE, 0, None, None) else None


def coverage(
    regions: Sequence[Region], image: int, box_px: Box, size: tuple[int, int]
) -> NDArray[np.float64]:
    """(height, width) of a view: the share of each pixel that regions cover, 0 to 1.

    A region is its mask where it has one, else its box. Where regions overlap, the greatest share
    counts.

    Args:
        regions: of all images of the case.
        image, box_px: what the view shows.
        size: of the view, (width, height).
    """
    across = _edges(box_px[0], box_px[2], size[0])
    down = _edges(box_px[1], box_px[3], size[1])
    covered = np.zeros((size[1], size[0]))
    for region in regions:
        if region.image != image:
            continue
        if region.mask is None:
            x0, y0, x1, y1 = region.box_px
            share = np.outer(_shares(down, np.array([y0, y1])), _shares(across, np.array([x0, x1])))
        else:
            share = _mask_share(region.mask, down, across)
        np.maximum(covered, share, out=covered)
    covered[covered < ROUNDING] = 0.0
    np.minimum(covered, 1.0, out=covered)
    return covered


def covered_findings(
    case: Case, trajectory: Trajectory, view: int, size: tuple[int, int]
) -> NDArray[np.float64]:
    """The `coverage` of one view of an episode by its case's findings; 0 where nothing is known."""
    part = part_shown(case, trajectory, view)
    if part is None:
        return np.zeros((size[1], size[0]))
    return coverage(findings(case), *part, size)


def _edges(low: float, high: float, count: int) -> NDArray[np.float64]:
    """The edges of a view's pixels along one axis, in original pixels."""
    return low + (high - low) * np.arange(count + 1) / count


def _shares(edges: NDArray[np.float64], cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """(pixels, cells): the share of each pixel of a view that each cell of an axis covers."""
    starts, ends = edges[:-1, None], edges[1:, None]
    shared = np.minimum(ends, cells[1:]) - np.maximum(starts, cells[:-1])
    shares: NDArray[np.float64] = np.maximum(shared, 0.0) / (ends - starts)
    return shares


def _mask_share(
    mask: Mask, down: NDArray[np.float64], across: NDArray[np.float64]
) -> NDArray[np.float64]:
    inside = mask.array()
    nothing = np.zeros((len(down) - 1, len(across) - 1))
    top, bottom = max(0, int(down[0])), min(mask.height, int(np.ceil(down[-1])))
    left, right = max(0, int(across[0])), min(mask.width, int(np.ceil(across[-1])))
    seen = inside[top:bottom, left:right]
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not rows.size:
        return nothing
    seen = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = seen.shape
    by_row = _shares(down, top + rows[0] + np.arange(height + 1.0))
    by_column = _shares(across, left + columns[0] + np.arange(width + 1.0))
    share: NDArray[np.float64] = by_row @ seen.astype(float) @ by_column.T
    return share


def image_size(case: Case, image: int) -> tuple[int, int]:
    """The (width, height) of an image of a case in original pixels."""
    masks = (each.mask for each in case.regions if each.image == image)
    mask = next((each for each in masks if each is not None), None)
    return (mask.width, mask.height) if mask is not None else _opened_size(case.images[image])


@lru_cache(maxsize=4096)
def _opened_size(ref: ImageRef) -> tuple[int, int]:
    return open_image(ref).size
