"""A sequence that a plug-in makes, whose items are checked as they are made."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from medgym.failures import ContractError, calling
from medgym.lazy_sequence import LazySequence

Item = TypeVar("Item")


class CheckedSequence(LazySequence[Item], Generic[Item]):
    """The sequence that a plug-in makes; what it raises is an error that names the plug-in.

    Whatever else the plug-in's own sequence can do, this one can do too.

    Args:
        plug_in: whose it is, such as `the source 'phantom'`.
        make: makes the sequence.
        kind: of which each item is.
    """

    def __init__(self, plug_in: str, make: Callable[[], object], kind: type[Item]) -> None:
        self._plug_in = plug_in
        self._kind = kind
        with calling(plug_in):
            made: Any = make()
            if not isinstance(made, Sequence):
                raise ContractError(f"made a {type(made).__name__}; expected a sequence")
        self._made: Sequence[Item] = made

    @property
    def is_made(self) -> bool:
        """Whether all items exist already, rather than being made when they are asked for."""
        return isinstance(self._made, list | tuple)

    def __len__(self) -> int:
        with calling(self._plug_in):
            return len(self._made)

    def item(self, index: int) -> Item:
        """An item, once it is what it has to be."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        with calling(self._plug_in):
            item: object = self._made[index]
            if not isinstance(item, self._kind):
                kind = self._kind.__name__
                raise ContractError(f"made a {type(item).__name__}; expected a {kind}")
        return item

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of a copy that is not filled yet, too
            raise AttributeError(name)
        return getattr(self._made, name)
