"""How far a structure stands apart from what surrounds it."""

import numpy as np
from numpy.typing import NDArray

from ..request import Binary

Pixels = NDArray[np.float32]

RING = 0.2
"""Width of the surroundings, as a share of the structure's size; at least 2 pixels."""

NOISE = 4.0
"""Variance that is added to all features, in levels squared."""


def apart(features: Pixels, mask: Binary) -> float:
    """Standard deviations between the mean of the structure and that of its surroundings, along the
    direction of the features in which they are most apart. 0 where there is too little of either.

    A pixel at the outline on either side does not count.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    width = max(2.0, RING * float(np.sqrt(mask.sum())))
    away = distance_transform_edt(~mask)
    ring = (away > 1) & (away <= width + 1)
    core = binary_erosion(mask)
    core = core if core.sum() >= 8 else mask
    if ring.sum() < 8:
        return 0.0
    one, other = features[core].astype(np.float64), features[ring].astype(np.float64)
    spread = (np.cov(one.T) + np.cov(other.T)) / 2 + NOISE * np.eye(features.shape[-1])
    between = one.mean(axis=0) - other.mean(axis=0)
    return float(np.sqrt(between @ np.linalg.solve(spread, between)))


def compactness(mask: Binary) -> float:
    """1 for a disc, less for what is long or ragged."""
    whole = np.pad(mask, 1)
    cracks = int((whole[1:] != whole[:-1]).sum() + (whole[:, 1:] != whole[:, :-1]).sum())
    return min(1.0, float(np.sqrt(4 * np.pi * mask.sum())) / (cracks * np.pi / 4))


def touching(mask: Binary, edge: Binary) -> float:
    """How much of a structure lies at the edge of what was looked at, as a share of its size."""
    return min(1.0, float((mask & edge).sum()) / (2 * float(np.sqrt(mask.sum()))))


def alike(one: Binary, other: Binary) -> float:
    """The overlap (Dice) of two masks of one region."""
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())
