"""Sequences whose items are made when they are asked for."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

Item = TypeVar("Item")


class LazySequence(Sequence[Item]):
    """A sequence that makes an item when it is asked for and keeps none; a slice is a list."""

    @abstractmethod
    def item(self, index: int) -> Item:
        """Make one item; `IndexError` where there is none."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self.item(place) for place in range(len(self))[index]]
        return self.item(index)
