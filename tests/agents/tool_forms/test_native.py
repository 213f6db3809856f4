"""The families' own forms of tool calls, over the chat templates that TRL ships for them."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

pytest.importorskip("trl")

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from trl import chat_template_utils as templates

from medgym.agents.tool_forms import NativeCalls
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.messages import Calls, Malformed, Reply, ToolCall, parse_action, render_call

FORMS = {
    "qwen3_vl": "hermes",
    "qwen3_5_nothink": "functions",
    "qwen3_6": "functions",
    "glm4moe": "arguments",
    "gemma4": "gemma",
}


@cache
def native(name: str) -> NativeCalls:
    text = getattr(templates, f"{name}_chat_template")
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab={}, merges=[])), bos_token="<bos>"
    )

    def written(messages: Sequence[Any], tools: Sequence[Any]) -> str:
        offered = {"tools": list(tools)} if tools else {}
        made = tokenizer.apply_chat_template(
            list(messages), chat_template=text, tokenize=False, **offered
        )
        return str(made)

    return NativeCalls.of(written)


@pytest.mark.parametrize(("name", "form"), FORMS.items())
def test_the_form_is_found_in_the_template(name: str, form: str) -> None:
    assert native(name).form.name == form


@pytest.mark.parametrize("name", ["gemma3", "qwen2_5_vl", "llama3"])
def test_a_template_without_tools_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r'has no place for tools.*; fix: .tools. form = "text"'):
        native(name)


def test_a_template_with_another_form_is_refused() -> None:
    with pytest.raises(UserError, match="in a form that medgym does not read"):
        native("lfm2_2_5_vl")


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
LINES = st.one_of(TEXTS, TEXTS.map(lambda text: f'{text}\n "{text}" \\ {{a: [1]}}'))
NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12), st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
)
VALUES = st.recursive(
    st.one_of(LINES, NUMBERS, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
CALLS = st.lists(
    st.builds(ToolCall, NAMES, st.dictionaries(NAMES, VALUES, max_size=4)), min_size=1, max_size=4
)


def schemas(calls: Sequence[ToolCall]) -> list[str]:
    """Schemas that say which arguments are texts, as those of real tools do."""
    made: dict[str, Any] = {}
    for call in calls:
        kept = made.setdefault(call.name, {})
        for key, value in call.arguments.items():
            kept[key] = {"type": "string"} if isinstance(value, str) else {}
    return [
        json.dumps({"name": name, "parameters": {"properties": kept}})
        for name, kept in made.items()
    ]


def same_kinds(calls: Sequence[ToolCall]) -> bool:
    """Whether an argument of a tool is a text in all of its calls, or in none."""
    kinds: dict[tuple[str, str], bool] = {}
    return all(
        kinds.setdefault((call.name, key), isinstance(value, str)) == isinstance(value, str)
        for call in calls
        for key, value in call.arguments.items()
    )


@pytest.mark.parametrize("name", FORMS)
@given(calls=CALLS.filter(same_kinds), think=st.sampled_from(["", "<think>Look <b>.</think>"]))
@settings(max_examples=25, deadline=None)
def test_what_a_template_writes_is_read_back(name: str, calls: list[ToolCall], think: str) -> None:
    form = native(name).form
    calls = [form.writable(call) for call in calls]
    text = think + "\n".join(render_call(call.name, call.arguments) for call in calls)
    written = native(name).write(text)
    if name != "qwen3_vl":
        assert isinstance(parse_action(written), Malformed)  # it is another form
    read = native(name).read(Reply(written), schemas(calls))
    assert read.malformed is None
    action = parse_action(read.text)
    assert isinstance(action, Calls)
    assert [each.name for each in action.calls] == [each.name for each in calls]
    for got, put in zip(action.calls, calls, strict=True):
        assert json.dumps(got.arguments, sort_keys=True) == json.dumps(
            put.arguments, sort_keys=True
        )
    assert action.think == ("Look <b>." if think else None)


PIECES = st.sampled_from([
    "<tool_call>", "</tool_call>", "<|tool_call>", "<tool_call|>", "call:zoom{", "}", "{", "[",
    "<function=zoom>", "</function>", "<parameter=view>", "</parameter>", "zoom\n", "<arg_key>",
    "</arg_key>", "<arg_value>", "</arg_value>", '<|"|>', '{"name": "zoom", "arguments": {}}',
    "<answer>A</answer>", "<think>", "</think>", "\n", "1e999", "9" * 5000, "[" * 3000, ":", ",",
])  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
@given(text=st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=9).map("".join))
@settings(max_examples=60, deadline=None)
def test_garbage_never_raises_and_is_read_alike_ever_after(name: str, text: str) -> None:
    read = native(name).read(Reply(text, token_ids=(1, 2)), ())
    assert read.token_ids == (1, 2)
    if read.malformed is not None:
        assert native(name).form.example in read.malformed.error
        assert isinstance(parse_action(read.text), Malformed)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("reply", "kind", "error"),
    [
        ("{call}<answer>A</answer>", "both", "a call and an answer in one reply"),
        ("I look. {call}", "call", "text before the call"),
        ("{call} So.", "call", "text beside the calls"),
        ("{call}{call}{call}{call}{call}", "call", "5 calls in one reply"),
        ("Well.", "form", "cannot read the reply"),
        ("<answer> </answer>", "form", "the answer is empty"),
        ("{begin}{{{end}", "call", "cannot read a call"),
        ("{begin}", "call", "cannot read a call"),
    ],
)
def test_a_malformed_reply_says_what_the_family_would_write(
    name: str, reply: str, kind: str, error: str
) -> None:
    calls = native(name)
    one = calls.write(render_call("zoom", {"view": 0}))
    text = reply.format(call=one, begin=calls.form.begin, end=calls.form.end)
    read = calls.read(Reply(text), ())
    assert read.malformed is not None
    assert read.malformed.kind == kind
    assert error in read.malformed.error
    assert calls.form.example in read.malformed.error


def test_medgyms_own_form_is_malformed_where_the_family_has_another() -> None:
    for name in ("gemma4", "qwen3_6", "glm4moe"):
        read = native(name).read(Reply(render_call("zoom", {"view": 0})), ())
        assert read.malformed is not None
        assert read.malformed.kind == "call"


def test_an_answer_stays_as_it_is() -> None:
    reply = Reply("<think>So.</think><answer>A</answer>", token_ids=(1,))
    for name in FORMS:
        assert native(name).read(reply, ()) is reply
        assert native(name).write(reply.text) == reply.text


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "7"),
        ({"type": "integer"}, 7),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "7"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 7),
        ({"enum": ["7", "8"]}, "7"),
        ({}, 7),
        (None, 7),
    ],
)
def test_a_text_without_quotes_is_of_the_kind_that_the_schema_says(
    schema: Any, value: object
) -> None:
    known = {} if schema is None else {"x": schema}
    offered = json.dumps({"name": "t", "parameters": {"properties": known}})
    written = "<tool_call>\n<function=t>\n<parameter=x>\n7\n</parameter>\n</function>\n</tool_call>"
    action = parse_action(native("qwen3_6").read(Reply(written), [offered]).text)
    assert isinstance(action, Calls)
    assert action.calls[0].arguments == {"x": value}


def test_a_mark_in_a_text_is_written_with_a_space() -> None:
    """No escape exists for it: the call would end where its value quotes an end."""
    for name in FORMS:
        calls = native(name)
        evil = "".join((calls.form.end, *calls.form.marks))
        written = calls.write(render_call("zoom", {"note": evil}))
        assert written.count(calls.form.end) == 1
        assert calls.read(Reply(written), ()).malformed is None


def test_a_call_that_the_form_cannot_hold_is_refused() -> None:
    with pytest.raises(Failure, match="cannot hold 'zoom'"):
        native("gemma4").write(render_call("zoom", {"a:b": 1}))
    with pytest.raises(Failure, match="cannot hold 'zoom'"):
        native("qwen3_6").write(render_call("zoom", {"a>b": 1}))
