"""The backgrounds of volumes: a sketch of the abdomen, whose tissues have the values of a modality.

Each image of a volume is cut out of one painting, a little further on than the image before it, and
gets grain of its own. All is whole numbers, alike on every machine.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medgym.seeds import seed_of
from medgym.sources.phantom.modalities import APPEARANCES, grain_sheet, painting
from medgym.sources.phantom.rng import RandomStream

Values = NDArray[np.int16]

GREYS = (0, 3, 30, 42, 60, 76, 104, 118, 126, 133, 255)
"""Greys of the painting; the tables give the value of each, and of those between by a line."""

HOUNSFIELD = (-1000, -1000, -120, -80, 10, 45, 65, 120, 180, 250, 300)
"""Air, fat, muscle, liver, vessels with contrast medium, bone."""

T1_SIGNAL = (0, 0, 190, 185, 80, 90, 115, 70, 60, 110, 200)
T2_SIGNAL = (0, 0, 120, 115, 60, 45, 65, 110, 30, 75, 200)
"""The same in magnetic resonance, in shares of 255."""


def tissues(seed: int, size: int, depth: int, index: int, pool: str) -> NDArray[np.uint8]:
    """The greys of the painting on one image of a volume."""
    rng = RandomStream(seed)
    sheet = painting("ct", size, pool, rng.integer(0, APPEARANCES["ct"].paintings), False)
    spare = sheet.shape[0] - size
    place = []
    for _ in range(2):
        start, end = rng.integer(0, spare + 1), rng.integer(0, spare + 1)
        # Half of the way between the two, at most, so that the volume does not lean too far.
        place.append(start + (end - start) * index // (2 * depth))
    top, left = place
    return sheet[top : top + size, left : left + size]


def grain(seed: int, size: int, index: int) -> Values:
    """Grain of one image: whole numbers from -6 to 6, mostly small ones."""
    style = APPEARANCES["ct"]
    sheet = grain_sheet(style, size)
    rng = RandomStream(seed_of("phantom study grain", seed, index))
    top, left = (rng.integer(0, sheet.shape[0] - size + 1) for _ in range(2))
    part = sheet[top : top + size, left : left + size].astype(np.int16)
    return part - np.int16(style.grain // 2)


@lru_cache(maxsize=16)
def table(values: tuple[int, ...]) -> Values:
    """The value of each of 256 greys."""
    made: list[int] = []
    for grey in range(256):
        at = next(i for i in range(1, len(GREYS)) if grey <= GREYS[i])
        low, high, first, last = GREYS[at - 1], GREYS[at], values[at - 1], values[at]
        made.append(first + (last - first) * (grey - low) // (high - low))
    return np.array(made, np.int16)
