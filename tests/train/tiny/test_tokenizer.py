"""Every text has tokens and decodes to itself; what is known beforehand is one token."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoProcessor

from medgym.messages import render_answer, render_call
from medgym.train.tiny.tokenizer import (
    IMAGE,
    SPECIAL,
    answer_pieces,
    build_processor,
    build_tokenizer,
    call_pieces,
)

NUMBERS = range(0, 1001, 125)
PIECES = ("Look at the image.", *call_pieces(NUMBERS), *answer_pieces("ABCD"))
TOKENIZER = build_tokenizer(PIECES)


def tokens(text: str) -> list[str]:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    return [TOKENIZER.decode([i]) for i in ids]


def plain(text: str) -> bool:
    return not any(token in text for token in SPECIAL)


@given(st.text().filter(plain))
def test_any_text_decodes_to_itself(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


@given(
    st.lists(st.sampled_from([*PIECES, " ", "1", "25", "00, ", "é", "<answer", ">"]), max_size=9)
)
def test_pieces_in_any_neighbourhood_decode_to_themselves(parts: list[str]) -> None:
    text = "".join(parts)
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_a_call_on_the_lattice_has_six_tokens() -> None:
    text = render_call("zoom", {"view": 0, "box": [125, 250, 375, 500]})
    assert tokens(text)[1:] == ["125, ", "250, ", "375, ", "500", "]}}</tool_call>"]


def test_a_call_off_the_lattice_is_spelled() -> None:
    text = render_call("zoom", {"view": 0, "box": [7, 1, 999, 1000]})
    assert "".join(tokens(text)) == text
    assert len(tokens(text)) > 6


def test_an_answer_is_a_choice_to_answer_and_a_choice_of_letter() -> None:
    assert tokens(render_answer("C")) == ["<answer>", "C</answer>"]


def test_the_longest_piece_wins() -> None:
    assert tokens("1000, ") == ["1000, "]
    assert tokens("1000") == ["1000"]


def test_a_piece_given_twice_counts_once() -> None:
    assert len(build_tokenizer([*PIECES, *PIECES, ""])) == len(TOKENIZER)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((64, 64), [1, 8, 8]), ((64, 32), [1, 4, 8]), ((16, 64), [1, 8, 2]), ((8, 8), [1, 2, 2])],
)
def test_views_of_any_shape_have_one_token_for_each_16_pixels(
    size: tuple[int, int], grid: list[int]
) -> None:
    processor = build_processor(PIECES, view_size=64)
    out = processor(text=[IMAGE], images=[Image.new("RGB", size)], return_tensors="pt")
    assert out["image_grid_thw"].tolist() == [grid]
    assert out["input_ids"].shape[1] == grid[1] * grid[2] // 4


def test_a_processor_is_the_same_after_saving(tmp_path: Any) -> None:
    processor = build_processor(PIECES, view_size=64)
    processor.save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(tmp_path)
    text = "<|im_start|>system\nLook at the image.<|im_end|>\n" + render_answer("B")
    kept = again.tokenizer(text)["input_ids"]
    assert kept == processor.tokenizer(text)["input_ids"]
    assert again.tokenizer.decode(kept) == text
    assert again.chat_template == processor.chat_template
    assert again.image_token_id == processor.image_token_id
    assert again.tokenizer.padding_side == "left"
    picture = Image.effect_noise((64, 64), 60).convert("RGB")
    old, new = (
        p.image_processor(images=[picture], return_tensors="pt")["pixel_values"]
        for p in (processor, again)
    )
    assert old.equal(new)
