"""`segment`: outlines and measures the structure inside a box or at a point, from pixels alone.

Classical, without weights: the region is smoothed at several scales and cut at Otsu's thresholds;
of all connected pieces, bright or dark, that lie within the box the one that stands out most from
what directly surrounds it (contrast x size x compactness) is the structure. So a sharp structure
keeps its edge, which smoothing would round, and a textured one is not torn apart. Area, diameter,
box and mask are exact for the outline that is shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.cases import Mask
from medgym.errors import ToolError
from medgym.imaging.study import Box, Study
from medgym.tool import BoxArgument, PointArgument, Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import View, Workspace

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

OUTLINE = (0, 255, 0)

Pixels = NDArray[np.float32]
Binary = NDArray[np.bool_]
Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Found:
    """A structure in the region `box_px` (whole original pixels) of an image.

    Attributes:
        piece: (height, width) over the region: one entry for each original pixel, or for each
            pixel of the region averaged down to `WORK_SIDE`.
        inside, around: mean grey level of the structure and of the rest of the region, 0 to 255.
        score: how far it stands out; comparable between regions of one image.
    """

    box_px: Box
    piece: Binary
    inside: float
    around: float
    score: float

    def runs(self) -> tuple[Whole, Whole, Whole]:
        """The structure as rows of original pixels: row, start and end (exclusive) of each run.

        Sorted by row, then start. An original pixel belongs to the entry that its corner lies in.
        """
        height, width = self.piece.shape
        left, top = int(self.box_px[0]), int(self.box_px[1])
        wide, high = int(self.box_px[2]) - left, int(self.box_px[3]) - top
        change = np.diff(np.pad(self.piece, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        starts, ends = np.argwhere(change == 1), np.argwhere(change == -1)
        first, last = (-(-(starts[:, 0] + i) * high // height) for i in (0, 1))
        again = np.repeat(np.arange(len(starts)), last - first)
        rows = np.arange(len(again)) - np.repeat(np.cumsum(last - first) - last, last - first)
        order = np.argsort(rows, kind="stable")
        again = again[order]
        start, end = (left - (-edges[again, 1] * wide // width) for edges in (starts, ends))
        return rows[order] + top, start, end


class Segment(Tool):
    """Outline and measure the structure inside a box, or the one at a point."""

    name = "segment"
    deadline_s = 600.0  # it computes, and many calls may share few cores

    class Args(ToolArgs):
        """Where the structure is: a box with a margin around it, or a point within it."""

        view: ViewNumber
        box: BoxArgument | None = None
        point: PointArgument | None = None

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A view of the region with the outline drawn on, and the measures as text.

        `data` holds `image`, `box_px` (of the structure, original pixels), `mask` (run lengths over
        the whole image, as `Mask` reads them), `area_px`, and where the spacing is known `area_mm2`
        and `length_mm`.
        """
        if (args.box is None) == (args.point is None):
            raise ToolError("segment: expected either box or point, and not both", "name")
        view = workspace.view(args.view)
        study = workspace.study(view)
        if args.box is not None:
            found = find(study, workspace.box_px(args.view, args.box))
        else:
            assert args.point is not None
            found = _around(study, view, _point_px(workspace, view, args.point))
        if found is None:
            return ToolResult("Nothing stands out there.", data={"image": view.image})
        return _report(found, workspace, view)


def find(study: Study, box_px: Box, seed: tuple[float, float] | None = None) -> Found | None:
    """The structure in a box (whole original pixels), None where nothing stands out.

    With a `seed` (x, y, original pixels) it is a piece that holds the seed.
    """
    from skimage.filters import gaussian

    grey, box = _grey(study, box_px)
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
    inside, around = float(grey[best].mean()), float(grey[~best].mean())
    return Found(box_px, best[box], inside, around, best_score)


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


def _grey(study: Study, box_px: Box) -> tuple[Pixels, tuple[slice, slice]]:
    """The box with its surroundings as one channel, and where in it the box lies.

    Colours become their place along the axis on which they differ most.
    """
    x0, y0, x1, y1 = (int(edge) for edge in box_px)
    factor = min(1.0, WORK_SIDE / max(x1 - x0, y1 - y0))
    margin = int(np.ceil(MARGIN * max(x1 - x0, y1 - y0)))
    left, top = max(0, x0 - margin), max(0, y0 - margin)
    right, bottom = min(study.size[0], x1 + margin), min(study.size[1], y1 + margin)
    columns = [round((x - left) * factor) for x in (x0, x1, right)]
    rows = [round((y - top) * factor) for y in (y0, y1, bottom)]
    box = (
        slice(rows[0], max(rows[1], rows[0] + 1)),
        slice(columns[0], max(columns[1], columns[0] + 1)),
    )
    size = max(columns[2], box[1].stop), max(rows[2], box[0].stop)
    region = (float(left), float(top), float(right), float(bottom))
    colours = np.asarray(study.render(region, size), dtype=np.float32)
    if study.pixels.ndim == 2:
        return colours[..., 0], box
    flat = colours.reshape(-1, 3) - colours.reshape(-1, 3).mean(axis=0)
    axis = np.linalg.eigh(flat.T @ flat)[1][:, -1]
    axis = axis / (np.abs(axis).sum() * (1.0 if axis.sum() >= 0 else -1.0))
    return (colours @ axis).astype(np.float32), box


def _point_px(workspace: Workspace, view: View, point: Sequence[float]) -> tuple[float, float]:
    x, y = workspace.point_px(view.number, point)
    return min(x, view.box_px[2] - 1), min(y, view.box_px[3] - 1)


def _around(study: Study, view: View, seed: tuple[float, float]) -> Found | None:
    """The structure at a point: what a larger region finds must stand out clearly more."""
    left, top, right, bottom = view.box_px
    best = None
    for share in WINDOWS:
        half = max(share * max(right - left, bottom - top) / 2, 2.0)
        box_px = (
            max(left, float(np.floor(seed[0] - half))),
            max(top, float(np.floor(seed[1] - half))),
            min(right, float(np.ceil(seed[0] + half))),
            min(bottom, float(np.ceil(seed[1] + half))),
        )
        found = find(study, box_px, seed)
        if found is not None and (best is None or found.score > CLEARLY * best.score):
            best = found
    return best


def _report(found: Found, workspace: Workspace, view: View) -> ToolResult:
    study = workspace.study(view)
    rows, starts, ends = found.runs()
    box_px = float(starts.min()), float(rows[0]), float(ends.max()), float(rows[-1] + 1)
    area_px = int((ends - starts).sum())
    data: dict[str, Any] = {"image": view.image, "box_px": list(box_px), "area_px": area_px}
    if workspace.images[view.image].has_many:
        data |= {"plane": view.plane, "index": view.index}
    data["mask"] = _mask(rows, starts, ends, study.size).model_dump(mode="json")
    spacing = study.spacing_in(box_px)
    length = _diameter(rows, starts, ends, spacing or (1.0, 1.0))
    if spacing is None:
        size = f"Area {area_px} px, longest diameter {length:.1f} px"
    else:
        data["area_mm2"] = area_px * spacing[0] * spacing[1]
        data["length_mm"] = length
        size = f"Area {data['area_mm2']:.1f} mm2, longest diameter {length:.1f} mm"
    box = ", ".join(str(round(value)) for value in view.from_px(box_px, workspace.scale(view)))
    text = (
        f"{size}, box [{box}] of view {view.number}, "
        f"mean grey {found.inside:.0f} inside and {found.around:.0f} around."
    )
    shown = workspace.look(
        view.image, found.box_px, enlarge=True, made_by=Segment.name, **vars(view.place)
    )
    picture = Image.fromarray(_outlined(np.array(shown.picture), found.piece))
    return ToolResult(text, (workspace.overlay(shown, picture, Segment.name),), data)


def _diameter(rows: Whole, starts: Whole, ends: Whole, spacing: tuple[float, float]) -> float:
    """The greatest distance between two corners of the pixels; `spacing` is (row, column)."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    y = np.concatenate([rows, rows + 1, rows, rows + 1])
    x = np.concatenate([starts, starts, ends, ends])
    corners = np.stack([x, y], axis=1)
    # The hull is found in pixels: in millimetres a pixel may be too flat for Qhull.
    hull = corners[ConvexHull(corners).vertices] * np.array([spacing[1], spacing[0]])
    return float(pdist(hull).max())


def _mask(rows: Whole, starts: Whole, ends: Whole, size: tuple[int, int]) -> Mask:
    """The mask over the whole image, without laying the image out."""
    width, height = size
    edges = np.stack([rows * width + starts, rows * width + ends], axis=1).ravel()
    # A run that ends where the next begins (over the image's side) is one run with it.
    joined = np.flatnonzero(edges[1:] == edges[:-1])
    edges = np.delete(edges, np.concatenate([joined, joined + 1]))
    counts = np.diff(np.concatenate([[0], edges, [width * height]]))
    if counts[-1] == 0:
        counts = counts[:-1]
    return Mask(width=width, height=height, counts=tuple(counts.tolist()))


def _outlined(pixels: NDArray[np.uint8], piece: Binary) -> NDArray[np.uint8]:
    """The picture of a region with the inner edge of a piece of the same region in `OUTLINE`."""
    height, width = pixels.shape[:2]
    rows = np.arange(height) * piece.shape[0] // height
    columns = np.arange(width) * piece.shape[1] // width
    shown = np.pad(piece[np.ix_(rows, columns)], 1)
    core = shown[:-2, 1:-1] & shown[2:, 1:-1] & shown[1:-1, :-2] & shown[1:-1, 2:]
    pixels[shown[1:-1, 1:-1] & ~core] = OUTLINE
    return pixels
