"""A Gymnasium space of arbitrary text that survives vectorisation.

Gymnasium's `Text` has a fixed set of characters, and its shared memory silently turns every other
character into zeros. It also reads the text only once, when the vector environment is built, and
returns that at every step. `AnyText` holds any Unicode text up to a length. It passes text through
shared memory as code points with their count, and reads it again at each step. So text is intact in
`SyncVectorEnv` and in both modes of `AsyncVectorEnv`.
"""

import multiprocessing
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Text
from gymnasium.spaces.utils import flatdim, flatten, flatten_space, unflatten
from gymnasium.vector.utils import (
    create_shared_memory,
    read_from_shared_memory,
    write_to_shared_memory,
)
from numpy.typing import NDArray


class AnyText(Text):
    """Any text of at most `max_length` characters, without lone surrogates.

    `sample` returns printable ASCII; `contains` accepts any characters.
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=string.printable, seed=seed)

    def contains(self, x: Any) -> bool:
        """Whether `x` is text, short enough, and can be encoded as UTF-8."""
        if not isinstance(x, str) or len(x) > self.max_length:
            return False
        try:
            x.encode("utf-8")
        except UnicodeEncodeError:
            return False
        return True

    def __repr__(self) -> str:
        return f"AnyText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyText) and other.max_length == self.max_length

    __hash__ = None  # type: ignore[assignment]


def _encode(space: AnyText, text: str) -> NDArray[np.int32]:
    if not space.contains(text):
        raise ValueError(f"text of {len(text)} characters does not belong to {space}")
    codes = np.zeros(space.max_length + 1, np.int32)
    codes[0] = len(text)
    codes[1 : len(text) + 1] = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int32)
    return codes


def _decode(codes: NDArray[Any]) -> str:
    length = int(codes[0])
    return codes[1 : length + 1].astype(np.uint32).tobytes().decode("utf-32-le")


@create_shared_memory.register(AnyText)
def _create(space: AnyText, n: int = 1, ctx: Any = multiprocessing) -> Any:
    return ctx.Array(np.dtype(np.int32).char, n * (space.max_length + 1))


class _SharedTexts(Sequence[str]):
    """The texts that are in shared memory now. A deep copy is a plain tuple that does not change.

    `AsyncVectorEnv` keeps what `read_from_shared_memory` returned when it was built, and returns a
    deep copy of it at each step.
    """

    def __init__(self, rows: NDArray[np.int32]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(_decode(row) for row in self._rows[index])
        return _decode(self._rows[index])

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)


@read_from_shared_memory.register(AnyText)
def _read(space: AnyText, shared_memory: Any, n: int = 1) -> Sequence[str]:
    rows = np.frombuffer(shared_memory.get_obj(), np.int32).reshape(n, space.max_length + 1)
    return _SharedTexts(rows)


@write_to_shared_memory.register(AnyText)
def _write(space: AnyText, index: int, values: str, shared_memory: Any) -> None:
    rows = np.frombuffer(shared_memory.get_obj(), np.int32).reshape(-1, space.max_length + 1)
    rows[index] = _encode(space, values)


@flatdim.register(AnyText)
def _flatdim(space: AnyText) -> int:
    return space.max_length + 1


@flatten.register(AnyText)
def _flatten(space: AnyText, x: str) -> NDArray[np.int32]:  # type: ignore[misc]
    return _encode(space, x)


@unflatten.register(AnyText)
def _unflatten(space: AnyText, x: NDArray[Any]) -> str:  # type: ignore[misc]
    return _decode(x)


@flatten_space.register(AnyText)
def _flatten_space(space: AnyText) -> Any:
    from gymnasium.spaces import Box

    return Box(0, 0x10FFFF, (space.max_length + 1,), np.int32)
