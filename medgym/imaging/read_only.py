"""Pixels that nobody can write to: all members of a group share them, and so do their tools."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_only(pixels: NDArray[Any]) -> NDArray[Any]:
    """The same pixels, without a copy, as an array that cannot be made writable again.

    An array that owns its memory takes `setflags(write=True)` at any time. One over a read-only
    buffer refuses it, and so does every view of it.
    """
    return np.asarray(pixels.data.toreadonly())
