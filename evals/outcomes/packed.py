"""Many rows in little memory: what an evaluation keeps of each episode, and how it is sorted."""

import pickle
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from heapq import merge
from itertools import islice
from operator import eq
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")

TOGETHER = 256
"""Rows that are packed together; so many are unpacked at once."""

SORTED, MERGED = 2048, 32
"""Rows that are sorted at once, and rows of such a part that are unpacked at once."""


class PackedRows(Collection[Row], Generic[Row]):
    """Rows in the order in which they were added, packed: about a hundred bytes for each.

    They are unpacked again, a few at a time, whenever they are iterated. So a reader takes what it
    needs of each and keeps no rows.
    """

    def __init__(self, rows: Iterable[Row] = (), *, together: int = TOGETHER) -> None:
        self._packed: list[bytes] = []
        self._last: list[Row] = []
        self._together = together
        self._count = 0
        for row in rows:
            self.add(row)

    @classmethod
    def joined(cls, parts: Iterable["PackedRows[Row]"]) -> "PackedRows[Row]":
        """The rows of several, which share their packed rows with these."""
        whole = cls()
        for part in parts:
            part._pack()
            whole._packed += part._packed
            whole._count += part._count
        return whole

    def add(self, row: Row) -> None:
        """Add a row at the end."""
        self._last.append(row)
        self._count += 1
        if len(self._last) == self._together:
            self._pack()

    def _pack(self) -> None:
        if self._last:
            self._packed.append(zlib.compress(pickle.dumps(self._last), 1))
            self._last = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        for packed in self._packed:
            yield from pickle.loads(zlib.decompress(packed))
        yield from self._last

    def __contains__(self, row: object) -> bool:
        return any(each == row for each in self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Collection):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))


def _itself(row: Any) -> Any:
    return row


def in_order(rows: Iterable[Row], key: Callable[[Row], Any] = _itself) -> Iterator[Row]:
    """The rows as `sorted` gives them. Sorted parts of them are packed and then merged, so that not
    all are in memory at once."""
    left, parts = iter(rows), list[PackedRows[Row]]()
    while some := sorted(islice(left, SORTED), key=key):
        if len(some) < SORTED and not parts:
            return iter(some)
        parts.append(PackedRows(some, together=MERGED))
    return merge(*parts, key=key)
