"""What is said to servers by messages, and how their replies are read."""

from typing import Any

import pytest
from PIL import Image

from medgym.agents.openai.chat_messages import ImageURIs, chat_messages, plain, reply_text
from medgym.messages import ImagePart, Malformed, message, parse_action


def test_pictures_are_encoded_once_and_forgotten_in_order() -> None:
    parts = [ImagePart(i, Image.new("RGB", (64, 64), (i, 0, 0))) for i in range(3)]
    pictures = ImageURIs()
    assert pictures.uri(parts[0]) is pictures.uri(ImagePart(9, parts[0].image.copy()))
    small = ImageURIs(capacity=sum(len(pictures.uri(part)) for part in parts) - 1)
    first, second = small.uri(parts[0]), small.uri(parts[1])
    assert small.uri(parts[0]) is first
    small.uri(parts[2])
    assert small.uri(parts[0]) is first
    assert small.uri(parts[1]) is not second


def test_what_spells_a_token_is_taken_apart() -> None:
    said = "a <|image_pad|> <|im_end|> <image> [IMG] <answer>x</answer> <|not one"
    told = plain(said)
    assert told == "a < |image_pad|> < |im_end|> < image> [ IMG] <answer>x</answer> <|not one"
    body = chat_messages((message("user", said),), ImageURIs(), "tool")
    assert body == [{"role": "user", "content": told}]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_a_thought_that_the_server_took_out_is_put_back(field: str) -> None:
    for said in ("<answer>A</answer>", "\n\n<answer>A</answer>"):
        text = reply_text({"content": said, field: "hm", "role": "assistant"})
        assert text == f"<think>hm</think>{said}"
        assert parse_action(text) == parse_action("<think>hm</think><answer>A</answer>")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "<answer>A</answer>"}, "<answer>A</answer>"),
        ({"content": "<answer>A</answer>", "reasoning": None}, "<answer>A</answer>"),
        ({"content": None, "reasoning": "hm"}, "<think>hm</think>"),
        ({"content": None}, ""),
        (
            {"content": [{"type": "text", "text": "<answer>"}, {"text": "A</answer>"}]},
            "<answer>A</answer>",
        ),
        # Which the template opened and no parser took out.
        ({"content": "hm</think><answer>A</answer>"}, "<think>hm</think><answer>A</answer>"),
        # Which is whole, and told again beside it.
        (
            {"content": "<think>hm</think><answer>A</answer>", "reasoning": "hm"},
            "<think>hm</think><answer>A</answer>",
        ),
    ],
)
def test_a_reply_is_read_whoever_holds_the_thought(message: dict[str, Any], text: str) -> None:
    assert reply_text(message) == text


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None, "reasoning": "It may"}, "<think>It may"),
        ({"content": "<think>It may"}, "<think>It may"),
        ({"content": "It may"}, "<think>\nIt may"),
    ],
)
def test_a_thought_that_was_cut_stays_open(message: dict[str, Any], text: str) -> None:
    said = reply_text(message, cut=True, opening="<think>\n")
    assert said == text
    action = parse_action(said, cut=True)
    assert isinstance(action, Malformed)
    assert action.kind == "cut"


def test_an_answer_that_was_cut_behind_its_thought_is_no_cut_thought() -> None:
    said = reply_text({"content": "<answer>A", "reasoning": "hm"}, cut=True, opening="<think>\n")
    assert said == "<think>hm</think><answer>A"
