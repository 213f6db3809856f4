"""A second look at an outline, closer: where between inside and outside the change is half done.

A mixture of Gaussians claims the blurred pixels of an edge for what varies more, mostly the inside.
Here both sides have the same spread, so the outline lies in the middle of an edge.
"""

import numpy as np
from numpy.typing import NDArray

from ..request import Binary
from .looks import CERTAIN, lengths, pieces
from .outline import short_outline

Pixels = NDArray[np.float32]

RING = 2.0
"""Width of the outside that is compared, in widths of the band."""

NOISE = 1.0
"""Variance that is added to all features, in levels squared."""

FLAT = 0.02
"""Variance that is added too, as a share of the squared distance between both sides: without noise
the least blur of an edge would be all that counts."""

FEWEST = 12
"""Pixels of either side without which there is nothing to compare."""


ROUNDS = 3
"""How often the outline is moved at most, where the band was too narrow for it."""

HELD = 0.5
"""The share of an outline at the inner edge of its band from which on the band holds it."""


def sharpened(features: Pixels, mask: Binary, band: float) -> Binary | None:
    """The structure with another outline, within a band of the given width on each side of it.

    Where the band was too narrow, as happens in an image without noise, the new outline has a band
    again. None where one side is too small to say what it looks like.
    """
    found: Binary | None = None
    for _ in range(ROUNDS):
        moved = _moved(features, mask, band)
        if moved is None:
            return found
        found, is_held = moved
        if not is_held:
            return found
        mask = found
    return found


def _moved(features: Pixels, mask: Binary, band: float) -> tuple[Binary, bool] | None:
    """The structure with another outline within the band, and whether the band held it back."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    depth, away = distance_transform_edt(mask), distance_transform_edt(~mask)
    core = depth > band
    if core.sum() < FEWEST:
        core = depth >= min(band, 0.6 * float(depth.max()))
    ring = (away > band) & (away <= (1 + RING) * band)
    if core.sum() < FEWEST or ring.sum() < FEWEST:
        return None
    one, other = features[core].astype(np.float64), features[ring].astype(np.float64)
    middle, between = (one.mean(axis=0) + other.mean(axis=0)) / 2, one.mean(0) - other.mean(0)
    least = NOISE + FLAT * float(between @ between)
    spread = (np.cov(one.T) + np.cov(other.T)) / 2 + least * np.eye(features.shape[-1])
    toward = np.linalg.solve(spread, between)
    cost = ((middle @ toward) - features @ toward).astype(np.float32)
    cost = np.clip(cost, -CERTAIN, CERTAIN)
    cost[core] = -CERTAIN
    found = pieces(short_outline(cost, away > band, *lengths(features[..., 0])), core)
    if found is None:
        return None
    outline = found & ~binary_erosion(found, border_value=1)
    return found, bool((outline & core).sum() > HELD * outline.sum())
