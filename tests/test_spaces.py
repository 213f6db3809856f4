"""`AnyText`: any text, intact through shared memory, flattening, copies and JSON's neighbours."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Dict, Discrete, flatdim, flatten, flatten_space, unflatten
from gymnasium.vector.utils import (
    batch_space,
    concatenate,
    create_empty_array,
    create_shared_memory,
    iterate,
    read_from_shared_memory,
    write_to_shared_memory,
)
from hypothesis import given
from hypothesis import strategies as st

from medgym.spaces import AnyText

SPACE = AnyText(40)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("x", "inside"),
    [
        ("", True), ("x" * 40, True), ("x" * 41, False), ("\x00é𝄞\U0010ffff\u2028", True),
        ("\ud800", False), (b"x", False), (None, False), (1, False), (np.str_("x"), True),
    ],
)  # fmt: skip
def test_membership_is_by_length_and_encodability(x: Any, inside: bool) -> None:
    assert SPACE.contains(x) is inside
    assert (x in SPACE) is inside


@given(texts)
def test_a_flattened_text_is_read_back(text: str) -> None:
    flat = flatten(SPACE, text)
    assert flat.shape == (flatdim(SPACE),)
    assert flatten_space(SPACE).contains(flat)
    assert unflatten(SPACE, flat) == text
    nested = Dict({"text": SPACE, "n": Discrete(3)})
    assert unflatten(nested, flatten(nested, {"text": text, "n": 1})) == {"text": text, "n": 1}


@given(st.lists(st.lists(texts, min_size=3, max_size=3), min_size=1, max_size=4))
def test_shared_memory_holds_the_newest_text(rounds: list[list[str]]) -> None:
    """As `AsyncVectorEnv` uses it: read once, written at each step, copied out at each step."""
    memory = create_shared_memory(SPACE, n=3)
    live = read_from_shared_memory(SPACE, memory, n=3)
    kept = []
    for given_texts in rounds:
        for index, text in enumerate(given_texts):
            write_to_shared_memory(SPACE, index, text, memory)
        assert list(live) == given_texts
        assert live[1] == given_texts[1]
        assert live[:2] == tuple(given_texts[:2])
        assert len(live) == 3
        kept.append(copy.deepcopy(live))
    assert [list(texts_then) for texts_then in kept] == rounds


def test_what_does_not_fit_into_shared_memory_is_an_error_and_not_zeros() -> None:
    memory = create_shared_memory(SPACE, n=1)
    for text in ("x" * 41, "\ud800"):
        with pytest.raises(ValueError, match="does not belong"):
            write_to_shared_memory(SPACE, 0, text, memory)


def test_batches_keep_their_texts() -> None:
    batched = batch_space(SPACE, 3)
    given_texts = ("a", "é", "")
    assert batched.contains(given_texts)
    assert tuple(iterate(batched, given_texts)) == given_texts
    assert concatenate(SPACE, given_texts, create_empty_array(SPACE, 3)) == given_texts


def test_samples_belong_and_repeat() -> None:
    one, other = AnyText(40, seed=1), AnyText(40, seed=1)
    drawn = [one.sample() for _ in range(20)]
    assert drawn == [other.sample() for _ in range(20)]
    assert all(text in SPACE for text in drawn)
    assert len(set(drawn)) > 10


def test_spaces_of_one_length_are_equal_however_they_were_moved() -> None:
    assert AnyText(40) == SPACE != AnyText(41)
    assert pickle.loads(pickle.dumps(SPACE)) == copy.deepcopy(SPACE) == SPACE
    assert "é" in pickle.loads(pickle.dumps(SPACE))
    assert repr(SPACE) == "AnyText(40)"
