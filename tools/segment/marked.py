"""The gold region that a prompt means, for the back ends that read gold.

What is given back lies over the addressed view, never over a box of its own: how large a view of it
is would tell its size.
"""

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.study import Box
from medgym.regions import Region

from .measure import Runs
from .request import Binary, Segmentation, SegmentRequest

MOST = 2**24
"""Entries of a mask over a view, at most; of a larger region every nth pixel is looked at."""

Edges = tuple[int, int, int, int]


def marked(request: SegmentRequest) -> Region | None:
    """The gold region on the addressed image that fits the prompt best; None where none does."""
    here = [
        region
        for region in request.gold.regions
        if region.image == request.number
        and (not request.image.has_many or region.lies_on(*request.place.image))
    ]
    fits = [_fit(region, request) for region in here]
    best = max(range(len(here)), key=lambda number: fits[number], default=None)
    return here[best] if best is not None and fits[best] > 0 else None


def indices(region: Region, request: SegmentRequest) -> range:
    """The images of the addressed plane on which a region lies."""
    if region.index is None:
        return range(request.image.planes[request.place.plane].count)
    return range(region.index, region.index + region.count)


def over_view(
    mask: Binary, corner: tuple[int, int], request: SegmentRequest, score: float
) -> Segmentation | None:
    """A mask whose top left pixel is `corner` (x, y), cut to the addressed view."""
    left, top, right, bottom = view_edges(request)
    step = max(1.0, float(np.sqrt((right - left) * (bottom - top) / MOST)))
    rows = _taken(top, bottom, step) - corner[1]
    columns = _taken(left, right, step) - corner[0]
    kept_rows = (rows >= 0) & (rows < mask.shape[0])
    kept_columns = (columns >= 0) & (columns < mask.shape[1])
    part = mask[np.ix_(rows[kept_rows], columns[kept_columns])]
    if not part.any():
        return None
    whole = np.zeros((len(rows), len(columns)), bool)
    whole[np.ix_(kept_rows, kept_columns)] = part
    return Segmentation((float(left), float(top), float(right), float(bottom)), whole, score)


def _taken(low: int, high: int, step: float) -> NDArray[np.int64]:
    """The pixels of a side that are looked at: all, or about every so many."""
    count = max(1, int((high - low) / step))
    return (low + (np.arange(count) + 0.5) * (high - low) / count).astype(np.int64)


def view_edges(request: SegmentRequest) -> Edges:
    """The whole original pixels that the addressed view touches."""
    x0, y0, x1, y1 = request.view_px
    width, height = request.size
    return (
        max(0, int(np.floor(x0))),
        max(0, int(np.floor(y0))),
        min(width, int(np.ceil(x1))),
        min(height, int(np.ceil(y1))),
    )


def mask_of(region: Region) -> tuple[Binary, tuple[int, int]]:
    """The mask of a region, cut to what it fills, and (x, y) of its top left pixel.

    Of a region without a mask it is the box.
    """
    if region.mask is None:
        left, top, right, bottom = _whole(region.box_px)
        return np.ones((bottom - top, right - left), bool), (left, top)
    runs = Runs.of_mask(region.mask)
    if runs is None:
        return np.zeros((1, 1), bool), (0, 0)
    left, top, right, bottom = (int(edge) for edge in runs.box_px)
    return runs.within((left, top, right, bottom)), (left, top)


def _whole(box: Box) -> Edges:
    left, top = int(np.floor(box[0])), int(np.floor(box[1]))
    return left, top, max(left + 1, int(np.ceil(box[2]))), max(top + 1, int(np.ceil(box[3])))


def _fit(region: Region, request: SegmentRequest) -> float:
    """How well a region fits a prompt; 0 where it does not."""
    prompt, box = request.prompt, region.box_px
    fit = 1.0
    if prompt.text is not None and prompt.text.casefold() != region.label.casefold():
        return 0.0
    if prompt.box_px is not None:
        fit *= _overlap(prompt.box_px, box)
    inside = [p for p, label in zip(prompt.points_px, prompt.labels, strict=True) if label]
    touching = [*inside, *prompt.scribble_px]
    if touching:
        mask, corner = mask_of(region)
        hit = sum(_holds(mask, corner, point) for point in touching) / len(touching)
        # Of regions that hold a point, the smallest is meant.
        fit *= hit / (1.0 + float(mask.sum()) * 1e-12)
    beside = [p for p, label in zip(prompt.points_px, prompt.labels, strict=True) if not label]
    if fit and beside:
        mask, corner = mask_of(region)
        fit *= 1 - sum(_holds(mask, corner, point) for point in beside) / len(beside)
    return fit


def _holds(mask: Binary, corner: tuple[int, int], point: tuple[float, float]) -> bool:
    column, row = int(point[0]) - corner[0], int(point[1]) - corner[1]
    height, width = mask.shape
    return 0 <= row < height and 0 <= column < width and bool(mask[row, column])


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, across) * max(0.0, down)
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / max(sum(areas) - common, 1e-9)
