"""Rows stay what they are wherever they are laid; what is held stays within its bound."""

from typing import Any

import pytest

pytest.importorskip("transformers")

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DynamicCache

from medgym.agents.hf import kv_cache as hf_cache
from medgym.agents.hf.kv_cache import Arena, Geometry, Held, Holdings, NotHoldable, Piece, spare

HEADS, WIDTH, LAYERS = 2, 3, 2


def filled(*widths: int) -> Any:
    """A cache of one row and one token, whose layers have keys and values of these widths."""
    cache = DynamicCache()
    for layer, width in enumerate(widths):
        state = torch.zeros(1, HEADS, 1, width)
        cache.update(state, state.clone(), layer)
    return cache


GEOMETRY = Geometry.of(filled(*[WIDTH] * LAYERS))


def tokens(arena: Arena, row: int, length: int) -> list[float]:
    """The numbers that `read` wrote for a row's last tokens, the same in every layer."""
    columns = slice(arena.used - length, arena.used)
    seen = [plane[:, row, :, columns].unique(dim=0) for plane in arena.planes]
    assert all(len(plane) == 1 for plane in seen)
    return [float(v) for v in seen[0][0, 0, :, 0]]


def read(arena: Arena, rows: list[list[float]]) -> None:
    """What a model does with new tokens: each layer is told of them, padding in front."""
    new = max(map(len, rows))
    values = torch.full((len(rows), HEADS, new, WIDTH), torch.nan)
    for line, row in enumerate(rows):
        if row:
            values[line, :, new - len(row) :] = torch.tensor(row)[:, None]
    real = torch.tensor([[i >= new - len(row) for i in range(new)] for row in rows])
    arena.real = None if bool(real.all()) else real[:, None, :, None]
    for layer in range(LAYERS):
        keys, _ = arena.update(values, values.clone(), layer)
        assert keys.shape[2] == arena.used + new
        assert arena.layers[layer].get_mask_sizes(new) == (arena.used + new, 0)
    arena.used += new
    arena.real = None


ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=4
)


@given(ROWS)
def test_rows_of_any_past_and_any_new_tokens_keep_theirs(rows: list[tuple[int, int, int]]) -> None:
    """Past, then new tokens, then some one by one; the row is taken out and laid in again."""
    texts = [[100.0 * n + i for i in range(past + new)] for n, (past, new, _) in enumerate(rows)]
    width, new = max(map(len, texts)), max(new for _, new, _ in rows)
    pieces: list[Piece | None] = []
    for text, (past, fresh, junk) in zip(texts, rows, strict=True):
        if not past:
            pieces.append(None)
            continue
        # A row of another arena, with other things before and after it.
        other = Arena(GEOMETRY, GEOMETRY.zeros(2, junk + past + 2), 0)
        read(other, [[-1.0] * junk + text[:past] + [-2.0] * 2] * 2)
        pieces.append(Piece(other.planes, [1], junk + past, past, width - fresh))
    arena = Arena.join(GEOMETRY, pieces, width - new, new + 2)
    fresh_parts = [text[past:] for text, (past, _, _) in zip(texts, rows, strict=True)]
    read(arena, fresh_parts)
    for number in (0.5, 0.75):
        read(arena, [[number]] * len(rows))
        texts = [[*text, number] for text in texts]
    assert arena.used == arena.room
    for row, text in enumerate(texts):
        assert tokens(arena, row, len(text)) == text
        (plane,) = arena.take(row, len(text), arena.used)
        assert plane.shape == (2 * LAYERS, 1, HEADS, len(text), WIDTH)
    picked = [Piece(arena.planes, [len(rows) - 1, 0, 0], arena.used, arena.used, arena.used)]
    again = Arena.join(GEOMETRY, picked, arena.used, 1)
    assert [tokens(again, line, len(texts[row])) for line, row in enumerate((-1, 0, 0))] == [
        texts[-1], texts[0], texts[0],
    ]  # fmt: skip
    assert all(bool(plane.isfinite().all()) for plane in again.planes)


def test_layers_of_other_shapes_have_planes_of_their_own() -> None:
    geometry = Geometry.of(filled(3, 5, 3))
    assert [shape for shape, _, _ in geometry.planes] == [(4, HEADS, 3), (2, HEADS, 5)]
    assert geometry.layers == (((0, 0), (0, 1)), ((1, 0), (1, 1)), ((0, 2), (0, 3)))
    arena = Arena(geometry, geometry.zeros(2, 4), 0)
    state = torch.ones(2, HEADS, 1, 5)
    keys, values = arena.update(state, 2 * state, 1)
    assert (float(keys.sum()), float(values.sum())) == (20.0, 40.0)


def test_what_keeps_no_keys_and_values_is_not_held() -> None:
    cache = filled(3, 3)
    cache.layers[1].keys = None
    with pytest.raises(NotHoldable, match="no keys and values"):
        Geometry.of(cache)


def test_spare_columns_grow_with_the_rows_and_end_with_the_limit() -> None:
    assert (spare(10, 500), spare(4000, 500), spare(1000, 500), spare(10, 3)) == (64, 500, 250, 3)


def held(length: int, user: int = 1) -> Held:
    return Held(GEOMETRY.zeros(1, length), length, length, 0, {user})


def test_what_was_unused_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_cache, "_most", lambda _: 3 * held(4).bytes)
    holdings = Holdings()
    for key in "abc":
        holdings.put(key, held(4))
    assert holdings.find("a", 1) is not None
    holdings.put("d", held(4))
    assert [key for key in "abcd" if holdings.find(key, 1)] == ["a", "c", "d"]
    holdings.put("e", held(12))
    assert [key for key in "acde" if holdings.find(key, 1)] == ["e"]
    holdings.put("f", held(13))  # more than all that may be held
    assert len(holdings) == 1
    holdings.put("e", held(4))  # in the place of the other
    holdings.put("g", held(8))
    assert len(holdings) == 2


def test_what_nobody_may_continue_is_dropped() -> None:
    holdings = Holdings()
    holdings.put("prompt", held(4, user=1))
    assert holdings.find("prompt", 2) is not None
    holdings.put("reply", held(6, user=1))
    holdings.leave(1)
    assert holdings.find("reply", 1) is None
    holdings.release("prompt", 2)
    assert len(holdings) == 0
    holdings.release("prompt", 2)
    holdings.put("prompt", held(4))
    holdings.clear()
    assert len(holdings) == 0


def test_a_bound_is_found_for_this_machine() -> None:
    assert 2**20 < hf_cache._most(torch.device("cpu")) < 2**50
