"""Numbers of many episodes, column by column."""

from array import array
from collections.abc import Hashable, Iterable
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class NumberColumns:
    """Numbers of episodes, of which eight bytes are kept each.

    Args:
        rows: of each episode the unit that it belongs to, then its numbers, or truth values; NaN
            stands for None.
        width: how many numbers each has.

    Attributes:
        units: a hash in place of each unit, (episodes,). Groups need no more than whether two units
            are the same, and a name takes ten times the memory.
        values: the numbers, (width, episodes).
    """

    def __init__(self, rows: Iterable[tuple[Any, ...]], width: int) -> None:
        units, values = array("q"), array("d")
        for unit, *numbers in rows:
            units.append(hash(unit))
            values.extend(nan if number is None else number for number in numbers)
        self.units: Ints = np.frombuffer(units, np.int64) if units else np.zeros(0, np.int64)
        self.values: Floats = np.reshape(
            np.frombuffer(values) if values else np.zeros(0), (len(units), width)
        ).T

    def groups(self, places: "Ints | NDArray[np.bool_] | None" = None) -> list[Hashable]:
        """The units of some episodes, by default of all, as statistics take them."""
        found: list[Hashable] = (self.units if places is None else self.units[places]).tolist()
        return found
