"""`classical`: from pixels alone, without weights.

The region is smoothed at several scales and cut at Otsu's thresholds; of all connected pieces,
bright or dark, that lie within the box the one that stands out most from what directly surrounds it
(contrast x size x compactness) is the structure. So a sharp structure keeps its edge, which
smoothing would round, and a textured one is not torn apart.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.study import Box

from ..backend import Backend, Binary, Found, Point, Request

WORK_SIDE = 256
"""Greatest side, in pixels, at which a box is segmented; a larger one is averaged down first."""

MARGIN = 0.25
"""Width of the surroundings that are looked at with the box, as a share of its longer side."""

WITHIN = 0.9
"""Share of a piece that must lie within the box."""

SMOOTHINGS = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations of the Gaussian, in pixels."""

RIM = 0.04
"""Width of a piece's direct surroundings, as a share of the region's side; at least 2 pixels."""

PIECES = 4
"""Pieces weighed for each cut, largest first."""

LEAST, NOISE = 0.5, 0.1
"""What stands out scores more than `LEAST` grey levels and `NOISE` of the pixels' own noise."""

WINDOWS = (0.125, 0.25, 0.5)
"""Sides of the regions tried around a point, as shares of the view's, least first."""

CLEARLY = 1.5
"""How many times more the structure of a larger region must stand out to be preferred."""

Pixels = NDArray[np.float32]


class Classical(Backend):
    """See the module."""

    def segment(self, requests: Sequence[Request]) -> Sequence[Found | None]:
        """See `Backend.segment`."""
        return [_segmented(request) for request in requests]


BACKEND = Classical


def _segmented(request: Request) -> Found | None:
    prompt = request.prompt
    inside = [p for p, label in zip(prompt.points_px, prompt.labels, strict=True) if label]
    seeds = [*inside, *prompt.scribble_px]
    if prompt.box_px is not None:
        return _found(request, prompt.box_px, seeds[0] if seeds else None)
    return _around(request, seeds[0])


def _found(request: Request, box_px: Box, seed: Point | None) -> Found | None:
    from skimage.filters import gaussian

    grey, box = _grey(request, box_px)
    height, width = grey[box].shape
    at = None
    if seed is not None:
        column = int((seed[0] - box_px[0]) * width / (box_px[2] - box_px[0]))
        row = int((seed[1] - box_px[1]) * height / (box_px[3] - box_px[1]))
        at = box[0].start + min(row, height - 1), box[1].start + min(column, width - 1)
    noise = float(np.abs(grey - gaussian(grey, 1.0, mode="nearest", preserve_range=True)).mean())
    best, best_score = None, LEAST + NOISE * noise
    for sigma in SMOOTHINGS:
        if 4 * sigma > min(height, width):
            break
        smooth = gaussian(grey, sigma, mode="nearest", preserve_range=True)
        for piece in _pieces(smooth, box, at):
            score = _standing_out(grey, piece) * (1.0 if at else _central(piece, box))
            if score > best_score:
                best, best_score = piece, score
    if best is None:
        return None
    return Found(box_px, best[box], best_score / (best_score + 10))


def _pieces(
    smooth: Pixels, box: tuple[slice, slice], at: tuple[int, int] | None
) -> Iterator[Binary]:
    """The connected pieces within the box at each of Otsu's cuts, dark and bright, holes filled."""
    from scipy.ndimage import binary_fill_holes, label
    from skimage.filters import threshold_multiotsu

    levels = np.unique(smooth)
    if len(levels) < 4:
        cuts = ((levels[1:] + levels[:-1]) / 2).tolist()
    else:
        cuts = [cut for n in (2, 3) for cut in threshold_multiotsu(smooth, n, nbins=64)]
    for cut in cuts:
        for foreground in (smooth > cut, smooth <= cut):
            pieces, _ = label(foreground)
            areas = np.bincount(pieces.ravel())
            inside = np.bincount(pieces[box].ravel(), minlength=len(areas))
            inside[0] = 0
            inside[inside < WITHIN * areas] = 0
            chosen = np.argsort(-inside, kind="stable")[:PIECES] if at is None else [pieces[at]]
            for number in chosen:
                if inside[number]:
                    yield binary_fill_holes(pieces == number)


def _standing_out(grey: Pixels, piece: Binary) -> float:
    """Contrast to the direct surroundings x root of share x share of the rest x compactness."""
    from scipy.ndimage import maximum_filter

    share = float(piece.mean())
    rim = maximum_filter(piece, 1 + 2 * max(2, round(RIM * float(np.sqrt(piece.size))))) & ~piece
    if not rim.any():
        return 0.0
    contrast = abs(float(grey[piece].mean()) - float(grey[rim].mean()))
    cracks = int((piece[1:] != piece[:-1]).sum() + (piece[:, 1:] != piece[:, :-1]).sum())
    compact = min(1.0, float(np.sqrt(4 * np.pi * piece.sum())) / (cracks * np.pi / 4))
    return contrast * float(np.sqrt(share * (1 - share))) * compact


def _central(piece: Binary, box: tuple[slice, slice]) -> float:
    """1 for a piece in the middle of the box, down to 1/2 for one at its edge."""
    away = 0.0
    for axis, side in enumerate(box):
        middle = float(np.flatnonzero(piece.any(1 - axis)).mean()) + 0.5
        half = (side.stop - side.start) / 2
        away = max(away, abs(middle - side.start - half) / half)
    return 1.0 - 0.5 * min(1.0, away)


def _grey(request: Request, box_px: Box) -> tuple[Pixels, tuple[slice, slice]]:
    """The box with its surroundings as one channel, and where in it the box lies.

    Colours become their place along the axis on which they differ most.
    """
    x0, y0, x1, y1 = (int(edge) for edge in box_px)
    factor = min(1.0, WORK_SIDE / max(x1 - x0, y1 - y0))
    margin = int(np.ceil(MARGIN * max(x1 - x0, y1 - y0)))
    left, top = max(0, x0 - margin), max(0, y0 - margin)
    right, bottom = min(request.size[0], x1 + margin), min(request.size[1], y1 + margin)
    columns = [round((x - left) * factor) for x in (x0, x1, right)]
    rows = [round((y - top) * factor) for y in (y0, y1, bottom)]
    box = (
        slice(rows[0], max(rows[1], rows[0] + 1)),
        slice(columns[0], max(columns[1], columns[0] + 1)),
    )
    size = max(columns[2], box[1].stop), max(rows[2], box[0].stop)
    region = (float(left), float(top), float(right), float(bottom))
    colours = request.picture(region, size).astype(np.float32)
    if request.is_grey:
        return colours[..., 0], box
    flat = colours.reshape(-1, 3) - colours.reshape(-1, 3).mean(axis=0)
    axis = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    axis = axis / (np.abs(axis).sum() * (1.0 if axis.sum() >= 0 else -1.0))
    return (colours @ axis).astype(np.float32), box


def _around(request: Request, seed: Point) -> Found | None:
    """The structure at a point: what a larger region finds must stand out clearly more."""
    left, top, right, bottom = request.view_px
    best = None
    for share in WINDOWS:
        half = max(share * max(right - left, bottom - top) / 2, 2.0)
        box_px = (
            max(left, float(np.floor(seed[0] - half))),
            max(top, float(np.floor(seed[1] - half))),
            min(right, float(np.ceil(seed[0] + half))),
            min(bottom, float(np.ceil(seed[1] + half))),
        )
        found = _found(request, box_px, seed)
        if found is not None and (best is None or found.score > CLEARLY * best.score):
            best = found
    return best
