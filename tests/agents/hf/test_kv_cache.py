"""Rows stay what they are wherever they are laid; what is held stays within its bound."""

from typing import Any

import pytest

pytest.importorskip("transformers")

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache

from medgym.agents.hf import kv_cache
from medgym.agents.hf.kv_cache import (
    BatchedKVCache,
    CachedPrefix,
    KVLayout,
    NotCacheable,
    PrefixCache,
    RowSlice,
    spare,
)

HEADS, WIDTH, LAYERS = 2, 3, 2


def filled(*widths: int) -> Any:
    """A cache of one row and one token, whose layers have keys and values of these widths."""
    cache = DynamicCache()
    for layer, width in enumerate(widths):
        state = torch.zeros(1, HEADS, 1, width)
        cache.update(state, state.clone(), layer)
    return cache


GEOMETRY = KVLayout.of(filled(*[WIDTH] * LAYERS))


def tokens(cache: BatchedKVCache, row: int, length: int) -> list[float]:
    """The numbers that `read` wrote for a row's last tokens, the same in every layer."""
    columns = slice(cache.used - length, cache.used)
    seen = [plane[:, row, :, columns].unique(dim=0) for plane in cache.planes]
    assert all(len(plane) == 1 for plane in seen)
    return [float(v) for v in seen[0][0, 0, :, 0]]


def read(cache: BatchedKVCache, rows: list[list[float]]) -> None:
    """What a model does with new tokens: each layer is told of them, padding in front."""
    new = max(map(len, rows))
    values = torch.full((len(rows), HEADS, new, WIDTH), torch.nan)
    for line, row in enumerate(rows):
        if row:
            values[line, :, new - len(row) :] = torch.tensor(row)[:, None]
    real = torch.tensor([[i >= new - len(row) for i in range(new)] for row in rows])
    cache.real = None if bool(real.all()) else real[:, None, :, None]
    for layer in range(LAYERS):
        keys, _ = cache.update(values, values.clone(), layer)
        assert keys.shape[2] == cache.used + new
        assert cache.layers[layer].get_mask_sizes(new) == (cache.used + new, 0)
    cache.used += new
    cache.real = None


ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=4
)


@given(ROWS)
def test_rows_of_any_past_and_any_new_tokens_keep_theirs(rows: list[tuple[int, int, int]]) -> None:
    """Past, then new tokens, then some one by one; the row is taken out and laid in again."""
    texts = [[100.0 * n + i for i in range(past + new)] for n, (past, new, _) in enumerate(rows)]
    width, new = max(map(len, texts)), max(new for _, new, _ in rows)
    pieces: list[RowSlice | None] = []
    for text, (past, fresh, junk) in zip(texts, rows, strict=True):
        if not past:
            pieces.append(None)
            continue
        # A row of another cache, with other things before and after it.
        other = BatchedKVCache(GEOMETRY, GEOMETRY.zeros(2, junk + past + 2), 0)
        read(other, [[-1.0] * junk + text[:past] + [-2.0] * 2] * 2)
        pieces.append(RowSlice(other.planes, [1], junk + past, past, width - fresh))
    cache = BatchedKVCache.join(GEOMETRY, pieces, width - new, new + 2)
    fresh_parts = [text[past:] for text, (past, _, _) in zip(texts, rows, strict=True)]
    read(cache, fresh_parts)
    for number in (0.5, 0.75):
        read(cache, [[number]] * len(rows))
        texts = [[*text, number] for text in texts]
    assert cache.used == cache.room
    for row, text in enumerate(texts):
        assert tokens(cache, row, len(text)) == text
        (plane,) = cache.take(row, len(text), cache.used)
        assert plane.shape == (2 * LAYERS, 1, HEADS, len(text), WIDTH)
    picked = [RowSlice(cache.planes, [len(rows) - 1, 0, 0], cache.used, cache.used, cache.used)]
    again = BatchedKVCache.join(GEOMETRY, picked, cache.used, 1)
    assert [tokens(again, line, len(texts[row])) for line, row in enumerate((-1, 0, 0))] == [
        texts[-1], texts[0], texts[0],
    ]  # fmt: skip
    assert all(bool(plane.isfinite().all()) for plane in again.planes)


def test_layers_of_other_shapes_have_planes_of_their_own() -> None:
    layout = KVLayout.of(filled(3, 5, 3))
    assert [shape for shape, _, _ in layout.planes] == [(4, HEADS, 3), (2, HEADS, 5)]
    assert layout.layers == (((0, 0), (0, 1)), ((1, 0), (1, 1)), ((0, 2), (0, 3)))
    cache = BatchedKVCache(layout, layout.zeros(2, 4), 0)
    state = torch.ones(2, HEADS, 1, 5)
    keys, values = cache.update(state, 2 * state, 1)
    assert (float(keys.sum()), float(values.sum())) == (20.0, 40.0)


def test_what_keeps_no_keys_and_values_is_not_held() -> None:
    cache = filled(3, 3)
    cache.layers[1].keys = None
    with pytest.raises(NotCacheable, match="no keys and values"):
        KVLayout.of(cache)


def test_spare_columns_grow_with_the_rows_and_end_with_the_limit() -> None:
    assert (spare(10, 500), spare(4000, 500), spare(1000, 500), spare(10, 3)) == (64, 500, 250, 3)


def held(length: int, user: int = 1) -> CachedPrefix:
    return CachedPrefix(GEOMETRY.zeros(1, length), length, length, 0, {user})


def test_what_was_unused_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_cache, "_limit_on", lambda _: 3 * held(4).bytes)
    prefix_cache = PrefixCache()
    for key in "abc":
        prefix_cache.put(key, held(4))
    assert prefix_cache.find("a", 1) is not None
    prefix_cache.put("d", held(4))
    assert [key for key in "abcd" if prefix_cache.find(key, 1)] == ["a", "c", "d"]
    prefix_cache.put("e", held(12))
    assert [key for key in "acde" if prefix_cache.find(key, 1)] == ["e"]
    prefix_cache.put("f", held(13))  # more than all that may be held
    assert len(prefix_cache) == 1
    prefix_cache.put("e", held(4))  # in the place of the other
    prefix_cache.put("g", held(8))
    assert len(prefix_cache) == 2


def test_what_nobody_may_continue_is_dropped() -> None:
    prefix_cache = PrefixCache()
    prefix_cache.put("prompt", held(4, user=1))
    assert prefix_cache.find("prompt", 2) is not None
    prefix_cache.put("reply", held(6, user=1))
    prefix_cache.leave(1)
    assert prefix_cache.find("reply", 1) is None
    prefix_cache.release("prompt", 2)
    assert len(prefix_cache) == 0
    prefix_cache.release("prompt", 2)
    prefix_cache.put("prompt", held(4))
    prefix_cache.clear()
    assert len(prefix_cache) == 0


def test_a_bound_is_found_for_this_machine() -> None:
    assert 2**20 < kv_cache._limit_on(torch.device("cpu")) < 2**50
