"""`noised`: the gold outline, spoilt until its Dice to gold is the stated one.

Of each region it is spoilt in one way, which the case and the region fix: smaller, larger, moved,
and with a wavy outline, in some mixture. How much is found by bisection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medgym.regions import Region

from ..backend import Binary, Segmentation, SegmentationThrough, Segmenter, SegmentRequest
from ..marked import indices, marked, mask_of, over_view

CLOSE = 0.005
"""How close to the stated Dice it comes, where whole pixels allow that."""

WAYS = 6
"""Mixtures that are tried until one comes close; of all, the closest."""

HALVINGS = 24

WAVES = 6
"""Waves of an outline along the side of what is looked at, at most."""

MOST_SIDE = 512
"""Side of the largest mask that is spoilt pixel by pixel; of a larger one every nth is taken."""


class NoisedSegmenter(Segmenter):
    """See the module.

    Args:
        dice: to gold: 2 x the common area / the sum of the areas.
    """

    takes = ("box", "points", "scribble", "text")
    fidelity = "predicted"
    needs_gold = True

    def __init__(self, dice: Annotated[float, Field(ge=0.1, le=1.0)] = 0.8) -> None:
        self._dice = dice

    def segment(self, requests: Sequence[SegmentRequest]) -> Sequence[Segmentation | None]:
        """See `Segmenter.segment`."""
        return [self._found(request) for request in requests]

    def through(self, requests: Sequence[SegmentRequest]) -> Sequence[SegmentationThrough | None]:
        """See `Segmenter.through`."""
        return [self._through(request) for request in requests]

    def _found(self, request: SegmentRequest) -> Segmentation | None:
        region = marked(request)
        if region is None:
            return None
        mask, corner = mask_of(region)
        if self._dice < 1.0:
            mask, corner = spoilt(mask, corner, request.size, self._dice, _seed(request, region))
        return over_view(mask, corner, request, self._dice)

    def _through(self, request: SegmentRequest) -> SegmentationThrough | None:
        region, found = marked(request), self._found(request)
        if region is None or found is None:
            return None
        return SegmentationThrough(dict.fromkeys(indices(region, request), found), self._dice)


BACKEND = NoisedSegmenter


def _seed(request: SegmentRequest, region: Region) -> int:
    text = f"{request.gold.seed} {region.image} {region.plane} {region.index} {region.box_px}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def spoilt(
    gold: Binary, corner: tuple[int, int], size: tuple[int, int], dice: float, seed: int
) -> tuple[Binary, tuple[int, int]]:
    """A mask of about this Dice to another, and (x, y) of its top left pixel.

    Args:
        gold: a mask with something in it. corner: (x, y) of its top left pixel.
        size: (width, height) of the image, which it does not leave.
    """
    step = -(-max(gold.shape) // MOST_SIDE)
    height, width = gold.shape
    across, down = max(2, width // 2), max(2, height // 2)
    left, top = max(0, corner[0] - across), max(0, corner[1] - down)
    right, bottom = (
        min(size[i], corner[i] + gold.shape[1 - i] + (across, down)[i]) for i in (0, 1)
    )
    whole = np.zeros((bottom - top, right - left), bool)
    y, x = corner[1] - top, corner[0] - left
    whole[y : y + height, x : x + width] = gold
    if not whole.any():
        return gold, corner
    small = whole[::step, ::step]
    if not small.any():
        small, step = whole, 1
    best = min(_ways(small, dice, seed), key=lambda each: each[0])[1]
    if step > 1:
        best = best.repeat(step, axis=0).repeat(step, axis=1)[: whole.shape[0], : whole.shape[1]]
    return best, (left, top)


def _ways(gold: Binary, dice: float, seed: int) -> list[tuple[float, Binary]]:
    """Spoilt masks, each with how far its Dice is from the stated one; none is empty."""
    random = np.random.Generator(np.random.PCG64(seed))
    made = [(1.0 - dice, gold)]
    for _ in range(WAYS):
        made.append(_bisected(gold, dice, _Way.drawn(gold, random)))
        if made[-1][0] <= CLOSE:
            break
    return made


@dataclass(frozen=True, eq=False)
class _Way:
    """How a mask is spoilt: how far from its outline it ends at a strength of 1, and the way that
    it moves, all in pixels."""

    depth: NDArray[np.float64]
    shift: NDArray[np.float64]
    move: tuple[float, float]

    @classmethod
    def drawn(cls, gold: Binary, random: np.random.Generator) -> "_Way":
        from scipy.ndimage import distance_transform_edt, zoom

        depth = distance_transform_edt(gold) - distance_transform_edt(~gold)
        scale = float(np.sqrt(gold.sum()))
        knots = tuple(min(side, WAVES + 2) for side in gold.shape)
        factors = tuple(side / knot for side, knot in zip(gold.shape, knots, strict=True))
        waves = zoom(random.normal(size=knots), factors, order=1, mode="nearest", grid_mode=True)
        waves = waves[: gold.shape[0], : gold.shape[1]]
        bias, angle, far = random.uniform(-1, 1), random.uniform(0, 2 * np.pi), random.uniform(0, 1)
        shift = scale * (0.5 * bias + 0.3 * waves)
        move = scale * far * float(np.sin(angle)), scale * far * float(np.cos(angle))
        return cls(depth, shift, move)

    def at(self, strength: float) -> Binary:
        """The mask at a strength of 0 (as it was) to 1."""
        from scipy.ndimage import shift

        move = tuple(strength * by for by in self.move)
        far = -float(np.abs(self.depth).max()) - 1
        moved = shift(self.depth, move, order=1, mode="constant", cval=far)
        spoilt: Binary = moved + strength * self.shift > 0
        return spoilt


def _bisected(gold: Binary, dice: float, way: _Way) -> tuple[float, Binary]:
    low, high = 0.0, 1.0
    best: tuple[float, Binary] = (1.0 - dice, gold)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        mask = way.at(middle)
        reached = 2 * float((mask & gold).sum()) / float(mask.sum() + gold.sum())
        if mask.any() and abs(reached - dice) < best[0]:
            best = abs(reached - dice), mask
        if best[0] <= CLOSE / 2:
            break
        low, high = (middle, high) if reached > dice else (low, middle)
    return best
