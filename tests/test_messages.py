"""The one strict reading of an action: what is written by the rules is read, nothing else is."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medgym.imaging.lazy_image import image_hash
from medgym.messages import (
    MAX_CALLS,
    MAX_TEXT,
    Calls,
    Final,
    ImagePart,
    Malformed,
    Reply,
    ToolCall,
    message,
    parse_action,
    render_answer,
    render_call,
)

TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>")
CALL = '<tool_call>{"name": "zoom", "arguments": {"view": 0, "box": [1, 2, 3, 4]}}</tool_call>'

plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
thoughts = st.none() | plain.filter(lambda text: "</think>" not in text)
answers = plain.filter(lambda text: text.strip() and not any(tag in text for tag in TAGS))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | plain | st.sampled_from(["</tool_call>", "<answer>B</answer>", "</think>"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
arguments = st.dictionaries(plain, values, max_size=4)


@given(plain, arguments, thoughts)
def test_a_rendered_call_is_read_back(name: str, given: dict[str, Any], think: str | None) -> None:
    text = render_call(name, given, think)
    assert parse_action(text) == Calls((ToolCall(name, given),), think)


@given(st.lists(st.tuples(plain, arguments), min_size=1, max_size=MAX_CALLS), thoughts)
def test_up_to_four_calls_are_read_in_order(given: list[Any], think: str | None) -> None:
    first, *rest = given
    text = "\n".join([render_call(*first, think), *(render_call(*call) for call in rest)])
    assert parse_action(text) == Calls(tuple(ToolCall(*call) for call in given), think)


@given(answers, thoughts)
def test_a_rendered_answer_is_read_back(answer: str, think: str | None) -> None:
    assert parse_action(render_answer(answer, think)) == Final(answer.strip(), think)


@given(
    st.sampled_from([CALL, "<answer>B</answer>", f"<think>hm</think>{CALL}"]),
    plain.filter(lambda text: text.strip()),
    st.booleans(),
)
def test_reading_is_anchored_at_both_ends(action: str, extra: str, before: bool) -> None:
    text = extra + action if before else action + extra
    assert isinstance(parse_action(text), Malformed)


@given(st.permutations(["<think>hm</think>", CALL, "<answer>B</answer>", " B "]))
def test_a_call_beside_an_answer_pays_nothing(parts: list[str]) -> None:
    for kept in (parts, [part for part in parts if part != " B "]):
        read = parse_action("".join(kept))
        assert isinstance(read, Malformed)
        assert "expected" in read.error


@pytest.mark.parametrize(
    "text",
    [
        f"{CALL}<answer>B</answer>",
        f"<answer>B</answer>{CALL}",
        f"<answer>{CALL}</answer>",
        f"<answer>B{CALL}</answer>",
        f"<think>so</think>{CALL}\n<answer>B</answer>",
        '<tool_call>{"name": "zoom", "arguments": {"a": "<answer>B</answer>"}}<answer>B</answer>',
    ],
)
def test_call_and_answer_are_named_as_the_fault(text: str) -> None:
    read = parse_action(text)
    assert isinstance(read, Malformed)
    assert read.kind in ("both", "json")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "form"),
        ("B", "form"),
        ("<answer></answer>", "form"),
        ("<answer> \n </answer>", "form"),
        ("<answer>A</answer><answer>B</answer>", "form"),
        ("<answer><answer>A</answer></answer>", "form"),
        ("<answer>A", "form"),
        ("<think>A<answer>A</answer>", "form"),
        ("<think></think><think></think><answer>A</answer>", "form"),
        ("<ANSWER>A</ANSWER>", "form"),
        ("<tool_call></tool_call>", "json"),
        ("<tool_call>{</tool_call>", "json"),
        ('<tool_call>{"name": "a", "name": "b", "arguments": {}}</tool_call>', "json"),
        ('<tool_call>{"name": "a", "arguments": {"x": NaN}}</tool_call>', "json"),
        ('<tool_call>{"name": "a", "arguments": {"x": -Infinity}}</tool_call>', "json"),
        ('<tool_call>{"name": "a", "arguments": {"x": 1e999}}</tool_call>', "json"),
        (f'<tool_call>{{"name": "a", "arguments": {{"x": {"9" * 5000}}}}}</tool_call>', "json"),
        ('<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>', "json"),
        ('<tool_call>{"name": "a", "arguments": {"\\udfff": 1}}</tool_call>', "json"),
        (f"<tool_call>{'[' * 8000}{']' * 8000}</tool_call>", "json"),
        (f"<tool_call>{'[' * 16000}</tool_call>", "json"),
        ('<tool_call>["zoom"]</tool_call>', "call"),
        ('<tool_call>{"name": "zoom"}</tool_call>', "call"),
        ('<tool_call>{"name": 1, "arguments": {}}</tool_call>', "call"),
        ('<tool_call>{"name": "zoom", "arguments": []}</tool_call>', "call"),
        ('<tool_call>{"name": "zoom", "arguments": {}, "id": 1}</tool_call>', "call"),
        (CALL * (MAX_CALLS + 1), "call"),
        (f"{CALL} and so on", "call"),
        (f"{CALL[: -len('</tool_call>')]}", "call"),
        ("<answer>" + "A" * MAX_TEXT + "</answer>", "length"),
        ("<tool_call>" + "[" * 100_000, "length"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, kind: str) -> None:
    read = parse_action(text)
    assert isinstance(read, Malformed)
    assert read.kind == kind
    assert "expected" in read.error
    assert "\n" not in read.error
    assert len(read.error) < 400


@given(st.lists(st.sampled_from([*TAGS, CALL, "{", "}", '"', "\\", "\x00", "B", " "]) | plain))
def test_reading_never_raises(parts: list[str]) -> None:
    read = parse_action("".join(parts))
    assert isinstance(read, Calls | Final | Malformed)


def test_reading_does_not_depend_on_the_depth_of_the_stack() -> None:
    """Deep nesting ends in an observation even where little of the stack is left."""
    nested = f'<tool_call>{{"name": "a", "arguments": {{"x": {"[" * 900}{"]" * 900}}}}}</tool_call>'

    def at(depth: int) -> Any:
        return at(depth - 1) if depth else parse_action(nested)

    assert isinstance(at(sys.getrecursionlimit() // 2), Calls | Malformed)


def test_an_answer_keeps_its_own_spaces_and_a_thought_its_tags() -> None:
    assert parse_action("<answer> two  words </answer>") == Final("two  words")
    thought = parse_action("<think><answer>A</answer></think><answer>B</answer>")
    assert thought == Final("B", "<answer>A</answer>")


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>", "</think>"),
        ("<unused94>thought", "<unused95>"),
        ("<|channel>thought", "<channel|>"),
    ],
)
def test_a_thought_is_read_in_the_form_of_its_family(begin: str, end: str) -> None:
    thought = "\nIt is small, <answer>A</answer> perhaps.\n"
    assert parse_action(f"{begin}{thought}{end}\n<answer>B</answer>") == Final("B", thought)
    assert parse_action(f"{begin}{thought}{end}{CALL}") == Calls(
        (ToolCall("zoom", {"view": 0, "box": [1, 2, 3, 4]}),), thought
    )
    for cut, kind in ((True, "cut"), (False, "form")):
        action = parse_action(f"{begin}{thought}", cut=cut)
        assert isinstance(action, Malformed)
        assert action.kind == kind
    assert parse_action(f"{begin}{thought}{end}<answer>B</answer>", cut=True) == Final("B", thought)


def test_only_a_reply_that_was_cut_inside_its_thought_is_called_so() -> None:
    for text in ("It is", "<answer>B", "<think>small</think>", "<think>small</think><answer>B"):
        action = parse_action(text, cut=True)
        assert isinstance(action, Malformed)
        assert action == parse_action(text)


def test_images_come_before_text() -> None:
    picture = ImagePart(3, Image.new("RGB", (4, 2)))
    said = message("tool", "View 3.", [picture])
    assert [part["type"] for part in said.chat()["content"]] == ["image", "text"]
    assert said.text == "View 3."
    assert said.images == (picture,)


def test_the_hash_of_an_image_is_of_its_pixels_alone() -> None:
    one, other = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))
    assert image_hash(one) != image_hash(other)
    assert image_hash(one) == image_hash(one.copy())
    assert image_hash(one) != image_hash(one.convert("L"))
    assert ImagePart(0, one).sha256 == image_hash(one)


def test_a_call_is_written_as_json_of_one_line() -> None:
    text = render_call("zoom", {"view": 0, "box": [1, 2, 3, 4]})
    assert text == CALL
    body = text.removeprefix("<tool_call>").removesuffix("</tool_call>")
    assert json.loads(body)["name"] == "zoom"
    assert Reply("x").prompt_ids is None


EXPECTED = (
    "expected <tool_call>{...}</tool_call> (one to four) or <answer>...</answer>, "
    "after an optional <think>...</think>, and nothing else"
)
CALL_FORM = 'expected {"name": TOOL, "arguments": {...}}'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("B", f"cannot read the reply; {EXPECTED}"),
        ("<answer> </answer>", f"the answer is empty; {EXPECTED}"),
        (f"{CALL}<answer>B</answer>", f"a call and an answer in one reply; {EXPECTED}"),
        (f"<answer>B</answer>{CALL}", f"a call and an answer in one reply; {EXPECTED}"),
        (f"{CALL} B", f"text after the last call; {EXPECTED}"),
        (CALL * 5, f"5 calls in one reply; {EXPECTED}"),
        ("x" * 16_385, f"the reply has over 16384 characters; {EXPECTED}"),
        ("<tool_call>[]</tool_call>", f"a call has another form; {CALL_FORM}"),
        (
            '<tool_call>{"x": 1e999}</tool_call>',
            f"a call is not JSON (a number is too large); {CALL_FORM}",
        ),
        (
            '<tool_call>{"x": -1e999}</tool_call>',
            f"a call is not JSON (a number is too large); {CALL_FORM}",
        ),
        (
            '<tool_call>{"x": NaN}</tool_call>',
            f"a call is not JSON (NaN is not a number); {CALL_FORM}",
        ),
        (
            '<tool_call>{"x": 1, "x": 1}</tool_call>',
            f"a call is not JSON (a key stands twice); {CALL_FORM}",
        ),
    ],
)
def test_a_policy_reads_exactly_what_was_wrong(text: str, error: str) -> None:
    for think in ("", "<think>hm</think>"):
        if len(think + text) > MAX_TEXT > len(text):
            continue
        read = parse_action(think + text)
        assert isinstance(read, Malformed)
        assert read.error == error
        if len(text) <= MAX_TEXT:
            assert read.think == ("hm" if think else None)


def test_the_longest_reply_is_read() -> None:
    longest = "<answer>" + "A" * (MAX_TEXT - len("<answer></answer>")) + "</answer>"
    assert isinstance(parse_action(longest), Final)


def test_a_call_survives_a_closing_tag_in_its_arguments() -> None:
    text = render_call("ask", {"text": "</tool_call>é"}, think="so")
    assert text.startswith('<think>so</think><tool_call>{"name": "ask", ')
    assert "\\u003c/tool_call>é" in text
    assert parse_action(text) == Calls((ToolCall("ask", {"text": "</tool_call>é"}),), "so")
    assert render_answer("B", "") == "<think></think><answer>B</answer>"
