"""From a first guess to a structure: what looks more like the inside than like the outside."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..request import Binary
from .mixture import log_density, mixture
from .outline import short_outline

Pixels = NDArray[np.float32]

INSIDE, OUTSIDE = 2, 3
"""The most Gaussians of what is inside, and of what is outside."""

SAMPLES = 2000
"""Pixels that a mixture is made of; of more, every nth."""

FEWEST = 12
"""Pixels inside and outside without which there is nothing to compare."""

LEVELS = 1.0
"""What is added to the spread of a feature, so that a flat one does not count as a sharp one."""

SPREAD = 0.01
"""Least variance of a Gaussian, of features whose own is 1."""

CERTAIN = 4.0
"""A pixel's cost is between minus and plus this."""

SHORT = 1.5
"""What a unit of the outline costs where the brightness does not change."""

SHARP = 0.2
"""The least share of that where it does."""


@dataclass(frozen=True, eq=False)
class Guess:
    """Where to begin.

    Attributes:
        inside, outside: of what the first mixtures are made.
        never: what is outside for good. always: what is inside for good.
        rounds: how often all is done.
    """

    inside: Binary
    outside: Binary
    never: Binary
    always: Binary
    rounds: int


def structure(features: Pixels, guess: Guess) -> Binary | None:
    """The structure of a guess; None where there is none.

    Of pieces that do not touch it is those that hold something of `always`, else the largest.
    """
    count = features.shape[-1]
    scale = features.reshape(-1, count).std(axis=0) + LEVELS
    looks = (features / scale).astype(np.float32)
    part = _part(~guess.never)
    rows = looks[part].reshape(-1, count)
    never, always = guess.never[part], guess.always[part]
    across, down = lengths(features[..., 1])
    across, down = across[part], down[part]
    inside, outside = guess.inside, guess.outside
    found: Binary | None = None
    for number in range(guess.rounds):
        within, beside = looks[inside], looks[outside]
        if len(within) < FEWEST or len(beside) < FEWEST:
            return found
        first = number == 0 and bool(always.any())  # little is known: one wide Gaussian
        own = mixture(_some(within), 1 if first else INSIDE, SPREAD * (4 if first else 1))
        others = mixture(_some(beside), OUTSIDE, SPREAD)
        cost = np.clip(log_density(others, rows) - log_density(own, rows), -CERTAIN, CERTAIN)
        cost = cost.reshape(never.shape)
        cost[always] = -CERTAIN
        piece = pieces(short_outline(cost, never, across, down), always)
        if piece is None:
            return None
        inside = np.zeros(guess.never.shape, bool)
        inside[part] = piece
        if found is not None and np.array_equal(inside, found):
            break
        found, outside = inside, ~inside
    return found


def _part(free: Binary) -> tuple[slice, slice]:
    """Where anything is free, and one pixel around it."""
    rows, columns = np.flatnonzero(free.any(axis=1)), np.flatnonzero(free.any(axis=0))
    if not rows.size:
        return slice(0, 1), slice(0, 1)
    return (
        slice(max(0, rows[0] - 1), rows[-1] + 2),
        slice(max(0, columns[0] - 1), columns[-1] + 2),
    )


def _some(rows: Pixels) -> Pixels:
    return rows[:: max(1, len(rows) // SAMPLES)]


def lengths(brightness: Pixels) -> tuple[Pixels, Pixels]:
    """What an outline costs between neighbours: less where the brightness changes."""
    across, down = np.full_like(brightness, SHORT), np.full_like(brightness, SHORT)
    x, y = np.abs(np.diff(brightness, axis=1)), np.abs(np.diff(brightness, axis=0))
    usual = float(x.mean() if x.size else 0.0) + float(y.mean() if y.size else 0.0) + 1e-3
    across[:, :-1] *= np.exp(-x / usual) + SHARP
    down[:-1] *= np.exp(-y / usual) + SHARP
    return across, down


def pieces(inside: Binary, always: Binary) -> Binary | None:
    """What of it holds something of `always`, or the largest piece; holes are filled."""
    from scipy.ndimage import binary_fill_holes, label

    parts, count = label(inside)
    if not count:
        return None
    kept = np.unique(parts[always & inside])
    if not kept.size:
        if always.any():
            return None
        kept = np.array([np.bincount(parts.ravel())[1:].argmax() + 1])
    filled: Binary = binary_fill_holes(np.isin(parts, kept))
    return filled


def without(mask: Binary, inside: Binary, beside: Binary) -> Binary:
    """A mask without what belongs to places beside the structure: it is cut at its necks.

    Args:
        inside: places in the structure; where there are none, its middle is.
        beside: places that do not belong to it.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.segmentation import watershed

    depth = distance_transform_edt(mask)
    if not inside.any():
        middle = np.minimum(depth, distance_transform_edt(~beside))
        inside = middle == middle.max()
    markers = np.where(beside, 2, np.where(inside, 1, 0)) * mask
    kept: Binary = watershed(-depth, markers, mask=mask) == 1
    return kept if kept.any() else mask & ~beside
