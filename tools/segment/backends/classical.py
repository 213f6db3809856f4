"""`classical`: from pixels alone, without weights; see `medgym.tools.segment.cut`.

From a box: what is inside looks unlike what surrounds the box. From points or a scribble the size
is unknown, so several windows are tried. What stands out most in one of them is cut once more, from
its own box.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgym.imaging.study import Box

from ..backend import Binary, Segmentation, Segmenter, SegmentRequest
from ..cut.apart import alike, apart, compactness, touching
from ..cut.edge import sharpened
from ..cut.features import Pixels, features
from ..cut.looks import Guess, structure, without
from ..cut.patch import Patch

BOX_SIDE, WINDOW_SIDE = 96, 80
"""Sides at which a box and a window are worked on, in pixels."""

MARGIN = 0.4
"""Width of the surroundings that are looked at with a box, as a share of its longer side."""

WINDOWS = (0.125, 0.25, 0.5)
"""Sides of the windows around points, as shares of the view's longer side, least first."""

LEAST_WINDOW = 16.0
"""Least side of a window, in original pixels."""

NEAR = 0.12
"""Radius around a point that the first look is taken of, as a share of the window's side."""

FRAME = 0.08
"""Width of the edge of a window that is outside at first, as a share of its longer side."""

LEAST_OUTSIDE = 0.1
"""Least share of what is looked at that lies outside a box."""

TIGHT = 0.12
"""What the box of a structure in a window is enlarged by on each side, to be cut once more."""

FINE_SIDE = 160
"""Side at which the outline is looked at once more; no pixel is enlarged for that."""

BAND = 3.5
"""How far an outline may move then, in pixels of the first look."""

SMALLER = 0.2
"""How much the smaller of two windows is preferred: this power of the ratio of their sides."""

WHOLE = 1.0, 0.1
"""Side of one more window, and how much of the best structure must lie at an edge to try it."""

AGAIN = 2
"""How often a larger box is tried where a structure in a window turns out to fill its own."""

FILLED = 0.25
"""How much of a structure lies at the edge of a box that it fills, as a share of its size."""

CLEAR = 0.5
"""How clearly the second cut must stand apart, as a share of the first, not to be dropped."""

LEAST = 1.2
"""What stands apart by fewer standard deviations is nothing."""

Whole = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Cut:
    """A structure in a patch."""

    patch: Patch
    features: Pixels
    mask: Binary
    apart: float

    @property
    def touching(self) -> float:
        """How much of it lies where the patch ends and the image goes on, 0 to 1."""
        from scipy.ndimage import binary_dilation

        return touching(self.mask, binary_dilation(self.patch.frame(0.0)))

    @property
    def merit(self) -> float:
        """How much it looks like one structure; comparable between windows around one point."""
        x0, y0, x1, y1 = self.patch.region_px
        size: float = max(x1 - x0, y1 - y0) ** -SMALLER
        free = (1 - self.touching) ** 2
        return float(np.sqrt(self.apart * compactness(self.mask))) * free * size


class ClassicalSegmenter(Segmenter):
    """See the module."""

    def segment(self, requests: Sequence[SegmentRequest]) -> Sequence[Segmentation | None]:
        """See `Segmenter.segment`."""
        return [_segmented(request) for request in requests]


BACKEND = ClassicalSegmenter


def _segmented(request: SegmentRequest) -> Segmentation | None:
    prompt = request.prompt
    if prompt.box_px is not None:
        cut = _of_box(request, prompt.box_px)
        return None if cut is None else _found(request, cut, 1.0)
    best = _of_windows(request)
    if best is None:
        return None
    box = _enlarged(best.patch.box_of(best.mask), request.size)
    cut = _of_box(request, box)
    for _ in range(AGAIN):
        if cut is None or not _fills(cut, box):
            break
        box = _enlarged(_enlarged(box, request.size), request.size)
        cut = _of_box(request, box)
    if cut is None:
        return _found(request, best, 0.5)
    first = cut.patch.resampled(best.mask, best.patch.region_px)
    agreement = alike(cut.mask, first)
    clear, before = (each.apart * compactness(each.mask) for each in (cut, best))
    return _found(request, best if clear < CLEAR * before else cut, agreement)


def _found(request: SegmentRequest, cut: Cut, agreement: float) -> Segmentation | None:
    if cut.apart < LEAST:
        return None
    sure = (1 + agreement) / 2 * cut.apart / (2 + cut.apart)
    return Segmentation(*_fine(request, cut), sure)


def _fine(request: SegmentRequest, cut: Cut) -> tuple[Box, Binary]:
    """The structure with a sharper outline, over original pixels or larger ones."""
    box = cut.patch.box_of(cut.mask)
    coarse = cut.patch.scale
    patch = Patch.of(request, box, MARGIN, FINE_SIDE, 1.0)
    again = patch.resampled(cut.mask, cut.patch.region_px)
    if not again.any():
        return patch.region_px, patch.inside(box)
    scale = patch.scale / coarse
    seen = features(patch.pixels, scale)
    sharp = sharpened(seen, again, max(1.0, BAND * scale))
    return patch.region_px, again if sharp is None else sharp


def _fills(cut: Cut, box: Box) -> bool:
    """Whether much of a structure lies at the edge of the box that it was cut from."""
    from scipy.ndimage import binary_erosion

    inside = cut.patch.inside(box)
    return touching(cut.mask, inside & ~binary_erosion(inside, border_value=1)) > FILLED


def _enlarged(box_px: Box, size: Whole) -> Box:
    x0, y0, x1, y1 = box_px
    across, down = 1 + TIGHT * (x1 - x0), 1 + TIGHT * (y1 - y0)
    return (
        max(0.0, float(np.floor(x0 - across))),
        max(0.0, float(np.floor(y0 - down))),
        min(float(size[0]), float(np.ceil(x1 + across))),
        min(float(size[1]), float(np.ceil(y1 + down))),
    )


def _of_box(request: SegmentRequest, box_px: Box) -> Cut | None:
    patch = Patch.of(request, box_px, MARGIN, BOX_SIDE)
    inside = patch.inside(box_px)
    if (~inside).mean() < LEAST_OUTSIDE:  # a box of the whole image: its edge is outside
        inside &= ~patch.frame(0.05)
    always, never = _seeds(request, patch, 1.5)
    first = inside & ~never
    if request.before is not None:  # its box alone would hold much that is beside it
        known = first & patch.resampled(request.before.mask, request.before.region_px)
        first = known if known.any() else first
    guess = Guess(first, ~inside | never, ~inside | never, always & inside, rounds=4)
    return _cut(request, patch, guess)


def _of_windows(request: SegmentRequest) -> Cut | None:
    prompt = request.prompt
    inside = [p for p, label in zip(prompt.points_px, prompt.labels, strict=True) if label]
    given = np.array([*inside, *prompt.scribble_px])
    low, high = given.min(axis=0), given.max(axis=0)
    left, top, right, bottom = request.view_px
    best = None
    for share in (*WINDOWS, WHOLE[0]):
        if share == WHOLE[0] and best is not None and best.touching < WHOLE[1]:
            break
        half = max(LEAST_WINDOW, share * max(right - left, bottom - top)) / 2
        window = (
            max(left, float(np.floor(low[0] - half))),
            max(top, float(np.floor(low[1] - half))),
            min(right, float(np.ceil(high[0] + half))),
            min(bottom, float(np.ceil(high[1] + half))),
        )
        patch = Patch.of(request, window, 0.0, WINDOW_SIDE)
        cut = _cut(request, patch, _guess(request, patch))
        if cut is not None and (best is None or cut.merit > best.merit):
            best = cut
    return best


def _guess(request: SegmentRequest, patch: Patch) -> Guess:
    longer = max(patch.shape)
    near, _ = _seeds(request, patch, NEAR * longer)
    always, never = _seeds(request, patch, 1.5)
    frame, edge = patch.frame(FRAME), patch.frame(0.0)
    return Guess(near & ~never, (frame & ~near) | never, (edge | never) & ~always, always, rounds=3)


def _seeds(request: SegmentRequest, patch: Patch, radius: float) -> tuple[Binary, Binary]:
    """What lies near the points and the scribble of a structure, and near points beside it."""
    prompt = request.prompt
    labelled = list(zip(prompt.points_px, prompt.labels, strict=True))
    inside = tuple(patch.at(point) for point, label in labelled if label)
    beside = tuple(patch.at(point) for point, label in labelled if not label)
    always = patch.near(inside + patch.line(prompt.scribble_px), radius)
    never = patch.near(beside, min(radius, 3.0)) & ~patch.near(inside, 1.5)
    return always, never


def _cut(request: SegmentRequest, patch: Patch, guess: Guess) -> Cut | None:
    seen = features(patch.pixels)
    mask = structure(seen, guess)
    if mask is None:
        return None
    always, beside = _seeds(request, patch, 1.5)
    if (beside & mask).any():
        mask = without(mask, always, beside)
        if not mask.any():
            return None
    return Cut(patch, seen, mask, apart(seen, mask))
