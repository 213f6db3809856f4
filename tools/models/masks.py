"""Masks of models over a region of an image: their size, and what a prompt leaves of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import ToolError
from medgym.imaging.study import Box

from .asked import MOST_SIDE

BACKGROUND = frozenset({"background", "bg", "other", "unlabeled", "unlabelled", "void"})
"""Names of classes that are no structure."""


def whole_box(box_px: Box) -> Box:
    """A region in whole pixels that holds it."""
    x0, y0, x1, y1 = box_px
    return float(np.floor(x0)), float(np.floor(y0)), float(np.ceil(x1)), float(np.ceil(y1))


def mask_size(box_px: Box) -> tuple[int, int]:
    """(width, height) of the mask of a region: one entry a pixel, or fewer of a large one."""
    width, height = box_px[2] - box_px[0], box_px[3] - box_px[1]
    factor = min(1.0, MOST_SIDE / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def within(mask: NDArray[np.bool_], region_px: Box, box_px: Box | None) -> NDArray[np.bool_]:
    """The mask of a region without what lies outside a box."""
    if box_px is None:
        return mask
    height, width = mask.shape
    across = width / (region_px[2] - region_px[0])
    down = height / (region_px[3] - region_px[1])
    xs = region_px[0] + (np.arange(width) + 0.5) / across
    ys = region_px[1] + (np.arange(height) + 0.5) / down
    is_in_x = (xs >= box_px[0]) & (xs < box_px[2])
    is_in_y = (ys >= box_px[1]) & (ys < box_px[3])
    kept: NDArray[np.bool_] = mask & is_in_y[:, None] & is_in_x[None, :]
    return kept


def class_of(text: str | None, classes: Sequence[str]) -> int:
    """The number of the class that a text means.

    Raises:
        ToolError: none, or several; it says which there are.
    """
    structures = [n for n, name in enumerate(classes) if name.casefold() not in BACKGROUND]
    known = ", ".join(classes[number] for number in structures[:60])
    if text is None:
        if len(structures) == 1:
            return structures[0]
        raise ToolError(f"segment: expected text, one of {known}", "name")
    asked = " ".join(text.casefold().split())
    same = [n for n in structures if _plain(classes[n]) == _plain(asked)]
    if not same:
        words = set(_plain(asked).split())
        same = [n for n in structures if words & set(_plain(classes[n]).split())]
        close = [n for n in same if set(_plain(classes[n]).split()) <= words]
        same = close if len(close) == 1 else same
    if len(same) != 1:
        raise ToolError(f"segment does not know {text[:40]!r}; expected text, one of {known}")
    return same[0]


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def resized(scores: Any, size: tuple[int, int]) -> Any:
    """A tensor of (rows, channels, height, width) at another (width, height)."""
    from torch.nn.functional import interpolate

    return interpolate(scores.float(), size=size[::-1], mode="bilinear", align_corners=False)
