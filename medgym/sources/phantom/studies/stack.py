"""The pixels of a stack of images: a background, then the textures of the lesions.

In front of and behind a lesion, on the other images, the background is made even within each square
of the grid: so no slab that holds the lesion tells the kind either (see `textures`).
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.seeds import seed_of
from medgym.sources.phantom.studies.plan import Finding, StudyPlan
from medgym.sources.phantom.studies.scan import scan
from medgym.sources.phantom.studies.settings import CLIP, CT, T1
from medgym.sources.phantom.studies.signals import TONED, Resonance
from medgym.sources.phantom.studies.textures import tile
from medgym.sources.phantom.studies.tissues import (
    HOUNSFIELD,
    T1_SIGNAL,
    T2_SIGNAL,
    grain,
    table,
    tissues,
)

Values = NDArray[Any]


@lru_cache(maxsize=64)
def image_values(plan: StudyPlan, index: int) -> Values:
    """The values of one image, read-only."""
    values = background(plan, index)
    for finding in plan.findings:
        _even_out(values, plan, finding)
    for finding in plan.findings:
        if index in finding.images:
            _add(values, plan, finding)
    values.flags.writeable = False
    return values


def background(plan: StudyPlan, index: int) -> Values:
    """An image without lesions, which may be changed."""
    look, size = plan.name.look, plan.size
    if look == CLIP:
        return scan(plan.seed, size, plan.depth, index, plan.split)
    greys = tissues(plan.seed, size, plan.depth, index, plan.split)
    noise = grain(seed_of("phantom study image", plan.seed, plan.variant), size, index)
    if look == CT:
        return np.asarray(table(HOUNSFIELD)[greys] + noise * np.int16(3))
    shares = table(T1_SIGNAL if plan.variant == T1 else T2_SIGNAL)[greys] + noise
    return np.asarray(np.maximum(shares, np.int16(0)) * np.int16(Resonance().scale(plan)))


def tones(plan: StudyPlan, finding: Finding) -> tuple[int, int]:
    """The two values of a lesion's texture."""
    signal = TONED[plan.name.look]
    mean, contrast = signal.mean(plan, finding), signal.contrast(plan)
    return mean - contrast, mean + contrast


def _even_out(values: Values, plan: StudyPlan, finding: Finding) -> None:
    """Give the background under a lesion one value in each square of the grid."""
    block, side = plan.grid.block, plan.grid.square
    for column, row in finding.cells:
        part = values[row * block : (row + 1) * block, column * block : (column + 1) * block]
        squares = part.reshape(block // side, side, block // side, side)
        sums = squares.sum(axis=(1, 3), dtype=np.int32, keepdims=True)
        squares[...] = sums // (side * side)


def _add(values: Values, plan: StudyPlan, finding: Finding) -> None:
    low, high = tones(plan, finding)
    block = plan.grid.block
    texture = np.where(tile(finding.kind, plan.grid), high, low).astype(values.dtype)
    for column, row in finding.cells:
        values[row * block : (row + 1) * block, column * block : (column + 1) * block] = texture
