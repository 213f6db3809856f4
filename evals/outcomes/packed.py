"""Many rows in little memory: what an evaluation keeps of each episode."""

import pickle
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Generic, TypeVar

Row = TypeVar("Row")

TOGETHER = 256
"""Rows that are packed together; so many are unpacked at once."""


class PackedRows(Collection[Row], Generic[Row]):
    """Rows in the order in which they were added, packed: about a hundred bytes for each.

    They are unpacked again, a few at a time, whenever they are iterated. So a reader takes what it
    needs of each and keeps no rows.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._packed: list[bytes] = []
        self._last: list[Row] = []
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Add a row at the end."""
        self._last.append(row)
        if len(self._last) == TOGETHER:
            self._packed.append(zlib.compress(pickle.dumps(self._last), 1))
            self._last = []

    def __len__(self) -> int:
        return TOGETHER * len(self._packed) + len(self._last)

    def __iter__(self) -> Iterator[Row]:
        for packed in self._packed:
            yield from pickle.loads(zlib.decompress(packed))
        yield from self._last

    def __contains__(self, row: object) -> bool:
        return any(each == row for each in self)
