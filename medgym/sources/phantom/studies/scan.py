"""The backgrounds of ultrasound clips: speckled tissue with vessels, seen through a sector."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medgym.seeds import seed_of
from medgym.sources.phantom.anatomy import cloud, ellipse, frame, quantised
from medgym.sources.phantom.rng import RandomStream
from medgym.sources.phantom.studies.tissues import grain

Bytes = NDArray[np.uint8]

TISSUES = 16
"""Paintings of each pool."""


def scan(seed: int, size: int, depth: int, index: int, pool: str) -> Bytes:
    """One frame without lesions, which may be changed: the tissue moves to and fro."""
    rng = RandomStream(seed)
    sheet = _tissue(size, pool, rng.integer(0, TISSUES))
    spare = sheet.shape[0] - size
    place = []
    for _ in range(2):
        start, reach = rng.integer(0, spare // 2 + 1), rng.integer(0, spare // 2 + 1)
        half = max(1, depth // 2)
        place.append(start + reach * abs(half - index) // half)
    top, left = place
    values = sheet[top : top + size, left : left + size].astype(np.int16)
    values += grain(seed_of("phantom clip", seed), size, index) * np.int16(3)
    values[~sector(size)] = 0
    return np.clip(values, 0, 255).astype(np.uint8)


@lru_cache(maxsize=8)
def sector(size: int) -> NDArray[np.bool_]:
    """Where the frame shows anything: (size, size) booleans."""
    x, y = frame(size, 0)
    down = y + np.float32(1.15)
    far = x * x + down * down
    inside: NDArray[np.bool_] = (np.abs(x) <= down * np.float32(0.8)) & (far >= 0.04) & (far <= 4.2)
    return inside


@lru_cache(maxsize=48)
def _tissue(size: int, pool: str, member: int) -> Bytes:
    rng = RandomStream(seed_of("phantom tissue", size, pool, member))
    margin = size // 16
    x, y = frame(size, margin)
    n = size + 2 * margin
    levels = np.float32(45) + cloud(rng, 7, n) * np.float32(40) + cloud(rng, 48, n) * np.float32(30)
    for _ in range(4):
        place = rng.real(-0.6, 0.6), rng.real(-0.4, 0.8), rng.real(0.05, 0.2), rng.real(0.05, 0.12)
        levels -= ellipse(x, y, *place, 0.3) * levels * np.float32(0.8)
    return quantised(levels, 130)
