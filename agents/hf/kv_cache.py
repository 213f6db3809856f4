"""The keys and values of conversations: a batched KV cache, and a prefix cache between turns.

A `BatchedKVCache` is what a forward pass reads and extends. Rows are right-aligned, so that a new
token is the same column for all, and the tokens of a row are adjacent: masks that go by the
distance of columns (sliding windows) and two-dimensional masks (all models of transformers) are
right. The tokens of all layers are kept, in sliding layers too.

A `CachedPrefix` is a copy of one row. The `PrefixCache` keeps those that an episode may continue.
They are found by all tokens that they cover and the images among them, and their size is bounded.
"""

import os
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

SHARE = 8
"""The prefix cache takes at most 1 / 8 of the machine's memory, or of what is free on a GPU."""

SPARE = 64
"""Columns for new tokens that are allocated at once; more, where rows are long."""

Planes = tuple[torch.Tensor, ...]
"""Tensors of shape (tensors, rows, heads, columns, width): one plane for each shape that a layer's
keys or values have (nearly always one in all), so that a row is moved in one piece."""


class NotCacheable(Exception):
    """The model's state is not keys and values of tokens."""


@dataclass(frozen=True)
class KVLayout:
    """What a model keeps of one token.

    Attributes:
        planes: of each plane (tensors, heads, width), number type and device.
        layers: where the keys and the values of each layer are, each as (plane, place in it).
    """

    planes: tuple[tuple[tuple[int, int, int], torch.dtype, torch.device], ...]
    layers: tuple[tuple[tuple[int, int], tuple[int, int]], ...]

    @classmethod
    def of(cls, cache: DynamicCache) -> "KVLayout":
        """The layout of a cache that a forward pass has filled."""
        kinds: dict[tuple[int, int, torch.dtype, torch.device], int] = {}
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
                raise NotCacheable(f"a layer keeps no keys and values: {layer}")
            layers.append((places[0], places[1]))
        planes = tuple(
            ((count, kind[0], kind[1]), kind[2], kind[3])
            for kind, count in zip(kinds, counts, strict=True)
        )
        return cls(planes, tuple(layers))

    def zeros(self, rows: int, columns: int) -> Planes:
        """Empty planes: finite numbers, since what is masked still enters a sum."""
        return tuple(
            torch.zeros(count, rows, heads, columns, width, dtype=dtype, device=device)
            for (count, heads, width), dtype, device in self.planes
        )


@dataclass(frozen=True)
class RowSlice:
    """Rows to be copied into a batched cache.

    Attributes:
        planes: where they are. rows: which of them.
        stop, width: the columns [stop - width, stop) of `planes` are copied,
        end: to where they end in the new cache.
    """

    planes: Planes
    rows: Sequence[int]
    stop: int
    width: int
    end: int


class _CacheLayer(DynamicLayer):
    """One layer of a batched cache, as a model extends and reads it."""

    def __init__(self, cache: "BatchedKVCache", keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cache = cache
        self._states = keys, values
        self.keys, self.values = keys, values
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start = self._cache.used
        end = start + key_states.shape[2]
        for held, new in zip(self._states, (key_states, value_states), strict=True):
            place = held[:, :, start:end]
            if self._cache.real is not None:
                new = torch.where(self._cache.real.to(new.device), new, place)
            place.copy_(new)
        keys, values = self._states
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self) -> int:
        return self._cache.used

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._cache.used + query_length, 0


class BatchedKVCache(Cache):
    """Keys and values of several rows, right-aligned.

    New tokens of different numbers are right-aligned as well: a row with fewer new ones has its
    past further right, where the others have their first new ones. `real` keeps what the model
    computes for its padding from overwriting that past.

    Attributes:
        planes: the tensors. used: columns that are filled.
        real: (rows, 1, new, 1), which of the tokens now computed are no padding; None for all.
    """

    def __init__(self, layout: KVLayout, planes: Planes, used: int) -> None:
        self.layout = layout
        self.planes = planes
        self.used = used
        self.real: torch.Tensor | None = None
        super().__init__(
            layers=[
                _CacheLayer(self, planes[k[0]][k[1]], planes[v[0]][v[1]]) for k, v in layout.layers
            ]
        )

    @property
    def room(self) -> int:
        """Columns in all."""
        return self.planes[0].shape[3]

    @classmethod
    def join(
        cls, layout: KVLayout, slices: Sequence[RowSlice | None], used: int, spare: int
    ) -> "BatchedKVCache":
        """Copy slices below one another; for None one row without any past."""
        count = sum(1 if each is None else len(each.rows) for each in slices)
        planes = layout.zeros(count, used + spare)
        at = 0
        for each in slices:
            if each is None:
                at += 1
                continue
            columns = slice(each.stop - each.width, each.stop)
            for new, old in zip(planes, each.planes, strict=True):
                index = torch.tensor(list(each.rows), device=old.device)
                place = new[:, at : at + len(each.rows), :, each.end - each.width : each.end]
                place.copy_(old[:, :, :, columns].index_select(1, index))
            at += len(each.rows)
        return cls(layout, planes, used)

    def take(self, row: int, length: int, stop: int) -> Planes:
        """A copy of one row's `length` columns before `stop`."""
        return tuple(p[:, row : row + 1, :, stop - length : stop].clone() for p in self.planes)


def spare(used: int, wanted: int) -> int:
    """Columns to allocate for up to `wanted` further tokens. Not all at once: most replies are far
    shorter than their limit."""
    return min(wanted, max(SPARE, used // 4))


@dataclass
class CachedPrefix:
    """The keys and values of a conversation up to some token.

    Attributes:
        planes: one row, without padding. length: tokens it covers.
        position: of the next token. images: how many it covers.
        users: the numbers of the episodes that may continue it.
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


class PrefixCache:
    """Prefixes that the next turns continue, by a key that says exactly what each covers.

    A prefix that is not there (any more) is computed again, with the same result. So entries may be
    dropped at any time; the least recently used ones are dropped where the bound is met.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, CachedPrefix] = OrderedDict()
        self._bytes = 0
        self._limit: int | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: Hashable, prefix: CachedPrefix) -> None:
        """Keep a prefix."""
        if self._limit is None:
            self._limit = _limit_on(prefix.planes[0].device)
        if prefix.bytes > self._limit:
            return
        self._drop(key)
        self._entries[key] = prefix
        self._bytes += prefix.bytes
        while self._bytes > self._limit:
            self._drop(next(iter(self._entries)))

    def find(self, key: Hashable, user: int) -> CachedPrefix | None:
        """The entry of a key; from now on `user` is one of the episodes that may continue it."""
        prefix = self._entries.get(key)
        if prefix is not None:
            self._entries.move_to_end(key)
            prefix.users.add(user)
        return prefix

    def release(self, key: Hashable, user: int) -> None:
        """`user` has continued the entry and will not again; without users it is dropped."""
        prefix = self._entries.get(key)
        if prefix is not None:
            prefix.users.discard(user)
            if not prefix.users:
                self._drop(key)

    def leave(self, user: int) -> None:
        """Drop the entries that only `user` could have continued."""
        for key in [key for key, prefix in self._entries.items() if user in prefix.users]:
            self.release(key, user)

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._bytes = 0
        self._limit = None  # on a GPU what is free changes

    def _drop(self, key: Hashable) -> None:
        prefix = self._entries.pop(key, None)
        if prefix is not None:
            self._bytes -= prefix.bytes


def _limit_on(device: torch.device) -> int:
    """The greatest size of a prefix cache on a device, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // SHARE)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // SHARE
