"""Keys and values of conversations: laid side by side while tokens are made, held between turns.

An `Arena` is what a forward pass reads and extends. Every row ends in the same column, and within a
row nothing lies between two tokens: whoever masks by the distance of columns (sliding windows) or
by a two-dimensional mask (all models of transformers) reads it rightly. All tokens of all layers
are there, in sliding layers too.

A `Held` is one row, cut out. `Holdings` keeps those that an episode may continue, found by all
tokens that they cover and the images among them, within a bound.
"""

import os
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

SHARE = 8
"""At most this part (1 / 8) of the machine's memory, or of what is free on a GPU, is held."""

SPARE = 64
"""Columns for new tokens that are made at once; more, where rows are long."""

Planes = tuple[torch.Tensor, ...]
"""Tensors of shape (tensors, rows, heads, columns, width): one plane for each shape that a layer's
keys or values have (nearly always one in all), so that a row is moved in one piece."""


class NotHoldable(Exception):
    """The model keeps something else than keys and values of tokens."""


@dataclass(frozen=True)
class Geometry:
    """What one token leaves behind in a model.

    Attributes:
        planes: of each plane (tensors, heads, width), number type and device.
        layers: where the keys and the values of each layer are, each as (plane, place in it).
    """

    planes: tuple[tuple[tuple[int, int, int], torch.dtype, torch.device], ...]
    layers: tuple[tuple[tuple[int, int], tuple[int, int]], ...]

    @classmethod
    def of(cls, cache: Any) -> "Geometry":
        """Read off a `DynamicCache` that a forward pass has filled."""
        kinds: dict[Any, int] = {}
        counts: list[int] = []
        layers = []
        for layer in cache.layers:
            places = []
            for tensor in (layer.keys, layer.values) if type(layer) is DynamicLayer else ():
                if tensor is None or tensor.ndim != 4:
                    break
                kind = (tensor.shape[1], tensor.shape[3], tensor.dtype, tensor.device)
                plane = kinds.setdefault(kind, len(kinds))
                if plane == len(counts):
                    counts.append(0)
                places.append((plane, counts[plane]))
                counts[plane] += 1
            if len(places) < 2:
                raise NotHoldable(f"a layer keeps no keys and values: {layer}")
            layers.append((places[0], places[1]))
        planes = tuple(
            ((count, kind[0], kind[1]), kind[2], kind[3])
            for kind, count in zip(kinds, counts, strict=True)
        )
        return cls(planes, tuple(layers))

    def zeros(self, rows: int, columns: int) -> Planes:
        """Planes in which nothing stands: finite, for what is masked still enters a sum."""
        return tuple(
            torch.zeros(count, rows, heads, columns, width, dtype=dtype, device=device)
            for (count, heads, width), dtype, device in self.planes
        )


@dataclass(frozen=True)
class Piece:
    """Rows to be laid into an arena.

    Attributes:
        planes: where they are. rows: which of them.
        stop, width: the columns [stop - width, stop) of `planes` are copied,
        end: to where they end in the new arena.
    """

    planes: Planes
    rows: Sequence[int]
    stop: int
    width: int
    end: int


class _Columns(DynamicLayer):
    """One layer of an arena, as a model extends and reads it."""

    def __init__(self, arena: "Arena", keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._arena = arena
        self._states = keys, values
        self.keys, self.values = keys, values
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start = self._arena.used
        end = start + key_states.shape[2]
        for held, new in zip(self._states, (key_states, value_states), strict=True):
            place = held[:, :, start:end]
            if self._arena.real is not None:
                new = torch.where(self._arena.real.to(new.device), new, place)
            place.copy_(new)
        keys, values = self._states
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self) -> int:
        return self._arena.used

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._arena.used + query_length, 0


class Arena(Cache):
    """Rows of keys and values, flush right.

    New tokens of different numbers are laid in flush right as well: a row with fewer of them has
    its past further right, where the others have their first new ones, and `real` keeps what the
    model computes for its padding from overwriting that.

    Attributes:
        planes: the tensors. used: columns that are filled.
        real: (rows, 1, new, 1), which of the tokens now computed are none of padding; None for all.
    """

    def __init__(self, geometry: Geometry, planes: Planes, used: int) -> None:
        self.geometry = geometry
        self.planes = planes
        self.used = used
        self.real: torch.Tensor | None = None
        super().__init__(
            layers=[
                _Columns(self, planes[k[0]][k[1]], planes[v[0]][v[1]]) for k, v in geometry.layers
            ]
        )

    @property
    def room(self) -> int:
        """Columns in all."""
        return self.planes[0].shape[3]

    @classmethod
    def join(
        cls, geometry: Geometry, pieces: Sequence[Piece | None], used: int, spare: int
    ) -> "Arena":
        """Lay pieces below one another; for None one row without any past."""
        count = sum(1 if piece is None else len(piece.rows) for piece in pieces)
        planes = geometry.zeros(count, used + spare)
        at = 0
        for piece in pieces:
            if piece is None:
                at += 1
                continue
            columns = slice(piece.stop - piece.width, piece.stop)
            for new, old in zip(planes, piece.planes, strict=True):
                index = torch.tensor(list(piece.rows), device=old.device)
                place = new[:, at : at + len(piece.rows), :, piece.end - piece.width : piece.end]
                place.copy_(old[:, :, :, columns].index_select(1, index))
            at += len(piece.rows)
        return cls(geometry, planes, used)

    def take(self, row: int, length: int, stop: int) -> Planes:
        """A copy of one row's `length` columns before `stop`."""
        return tuple(p[:, row : row + 1, :, stop - length : stop].clone() for p in self.planes)


def spare(used: int, wanted: int) -> int:
    """Columns to make for up to `wanted` further tokens: not all at once, for most replies are far
    shorter than their limit."""
    return min(wanted, max(SPARE, used // 4))


@dataclass
class Held:
    """What one conversation left behind, up to some token.

    Attributes:
        planes: one row, without padding. length: tokens it covers.
        position: of the next token. images: how many it covers.
        users: tickets of the episodes that may continue it.
    """

    planes: Planes
    length: int
    position: int
    images: int
    users: set[int] = field(default_factory=set)

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(plane.numel() * plane.element_size() for plane in self.planes)


class Holdings:
    """What is held between turns, by a key that says exactly what it covers.

    Whatever is not there (any more) is computed anew, with the same result: so it may be dropped at
    any time, and what was unused for longest is, where the bound is met.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, Held] = OrderedDict()
        self._bytes = 0
        self._most: int | None = None

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: Hashable, held: Held) -> None:
        """Hold it."""
        if self._most is None:
            self._most = _most(held.planes[0].device)
        if held.bytes > self._most:
            return
        self._forget(key)
        self._held[key] = held
        self._bytes += held.bytes
        while self._bytes > self._most:
            self._forget(next(iter(self._held)))

    def find(self, key: Hashable, user: int) -> Held | None:
        """What is held under a key; `user` is now one of those who may continue it."""
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
            held.users.add(user)
        return held

    def release(self, key: Hashable, user: int) -> None:
        """`user` has continued it and will not again; what nobody may continue is dropped."""
        held = self._held.get(key)
        if held is not None:
            held.users.discard(user)
            if not held.users:
                self._forget(key)

    def leave(self, user: int) -> None:
        """Drop what nobody but `user` could have continued."""
        for key in [key for key, held in self._held.items() if user in held.users]:
            self.release(key, user)

    def clear(self) -> None:
        """Drop everything."""
        self._held.clear()
        self._bytes = 0
        self._most = None  # on a GPU what is free changes

    def _forget(self, key: Hashable) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._bytes -= held.bytes


def _most(device: torch.device) -> int:
    """Bytes that may be held on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // SHARE)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE
