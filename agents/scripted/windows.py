"""Windows on a lattice: the few places at which a scripted policy looks.

A policy learns faster from demonstrations that look at few distinct boxes. These are square windows
of `window` thousandths of the view, at `steps` evenly spaced places along each axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgym.errors import UserError


@dataclass(frozen=True)
class Lattice:
    """Square windows of side `window` (thousandths) at `steps` x `steps` places."""

    window: int = 250
    steps: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 1000 or self.steps < 2:
            raise UserError(
                f"window={self.window} and steps={self.steps} make no lattice; fix: write a window "
                "of 1 to 1000, and 2 steps or more"
            )

    @property
    def starts(self) -> tuple[int, ...]:
        """The low ends of the windows along one axis, in thousandths."""
        span = 1000 - self.window
        return tuple(round(span * i / (self.steps - 1)) for i in range(self.steps))

    def box(self, column: int, row: int) -> list[int]:
        """The window at a column and a row, `[x0, y0, x1, y1]` in thousandths."""
        x, y = self.starts[column], self.starts[row]
        return [x, y, x + self.window, y + self.window]

    def random(self, rng: np.random.Generator) -> list[int]:
        """A random window, each equally often."""
        return self.box(int(rng.integers(self.steps)), int(rng.integers(self.steps)))

    def around(self, box_view: Sequence[float]) -> list[int]:
        """The window that contains a box and has the nearest centre, else the box itself."""
        x, y = (_best(self.starts, self.window, box_view[i], box_view[i + 2]) for i in (0, 1))
        if x is None or y is None:
            low = [max(int(np.floor(v)), 0) for v in box_view[:2]]
            high = [min(int(np.ceil(v)), 1000) for v in box_view[2:]]
            return [*low, *high]
        return [x, y, x + self.window, y + self.window]


def _best(starts: Sequence[int], window: int, low: float, high: float) -> int | None:
    holding = [s for s in starts if s <= low + 0.5 and high - 0.5 <= s + window]
    if not holding:
        return None
    return min(holding, key=lambda s: (abs(s + window / 2 - (low + high) / 2), s))
