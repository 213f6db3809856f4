"""Conversations in a family's own form of tools: held as its chat template writes them."""

import asyncio
import json
from typing import Any

import pytest

pytest.importorskip("trl")

from trl import chat_template_utils as templates

from medgym.agents.imitation import Imitation
from medgym.agents.rendering import Renderer
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import Calls, Malformed, Message, Reply, parse_action, render_call
from medgym.policy import Sampling, load_policy
from medgym.tool import load_tools
from tests.agents.test_rendering import with_template
from tests.families import build

CASE = open_cases("phantom:train[:1]")[0]
RULES = Rules(tools=load_tools(["zoom", "crop"]), view_size=64, max_turns=4, prompt="You look.")
QWEN = ("qwen3_vl", "qwen3_5_nothink", "qwen3_6")


GLM = """[gMASK]<sop>{% if tools %}<|system|>
# Tools{% for tool in tools %}
{{ tool | tojson }}{% endfor %}{% endif %}{% for message in messages %}\
<|{{ 'observation' if message.role == 'tool' else message.role }}|>
{% if message.content is string %}{{ message.content }}{% else %}\
{% for part in message.content %}{% if part.type == 'image' %}\
<|begin_of_image|><|image|><|end_of_image|>{% else %}{{ part.text }}{% endif %}\
{% endfor %}{% endif %}{% for call in message.tool_calls or [] %}{{ '' if loop.first else '\n' }}\
<tool_call>{{ call.function.name }}
{% for key, value in call.function.arguments.items() %}<arg_key>{{ key }}</arg_key>
<arg_value>{{ value if value is string else value | tojson }}</arg_value>
{% endfor %}</tool_call>{% endfor %}{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""
"""The template of `tests.families.glm` with tools as GLM-4.5 and later write them."""

GEMMA_MARKS = ("<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", '<|"|>', "<|tool_response>")


def with_tools(processor: Any, name: str) -> Renderer:
    if name == "glm4v":
        model, processor = build("glm4v")
        stops = model.generation_config.eos_token_id
        return Renderer(with_template(processor, GLM), stops, tool_form="native")
    if name == "gemma4":
        _, processor = build("gemma4")
        processor.tokenizer.add_tokens(list(GEMMA_MARKS), special_tokens=True)
        return Renderer(processor, tool_form="native")
    template = getattr(templates, f"{name}_chat_template")
    return Renderer(with_template(processor, template), tool_form="native")


def whole(renderer: Renderer, conversation: list[Message]) -> list[int]:
    """The template's own rendering of it all, with `tools` and `tool_calls`, tokenised at once."""
    chat: list[dict[str, Any]] = []
    for said in conversation:
        turn = said.chat()
        if said.role == "system":
            turn["content"] = [{"type": "text", "text": said.offer.instructions}]  # type: ignore[union-attr]
        if said.role == "tool":
            turn["role"] = renderer.tool_role
        action = parse_action(said.text) if said.role == "assistant" else None
        if isinstance(action, Calls):
            called = [{"name": c.name, "arguments": c.arguments} for c in action.calls]
            functions = [{"type": "function", "function": each} for each in called]
            turn = {"role": "assistant", "content": "", "tool_calls": functions}
        chat.append(turn)
    offered = [{"type": "function", "function": tool.schema()} for tool in RULES.tools]
    text = renderer.processor.apply_chat_template(
        chat, tools=offered, tokenize=False, add_generation_prompt=True
    )
    images = [part.image for said in conversation for part in said.images]
    inputs = renderer.processor(text=[text], images=[images], add_special_tokens=False)
    return list(inputs["input_ids"][0])


def played(renderer: Renderer, replies: list[str]) -> list[list[Message]]:
    """The conversation before each reply and after the last, in an episode."""
    episode = RULES.begin(CASE)
    talks = [list(episode.messages)]
    for text in replies:
        prompt = renderer.prompt(episode.messages)
        ids = renderer.encode_reply(text)
        made = Reply(renderer.decode_reply(ids), prompt.ids, ids, None, prompt.image_tokens)
        episode.step(renderer.read(made, prompt))
        talks.append(list(episode.messages))
    return talks


LOOK = render_call("zoom", {"view": 0, "box": [100, 100, 600, 600]})
TWICE = render_call("crop", {"view": 1, "box": [0, 0, 500.5, 500]}) + LOOK


@pytest.mark.parametrize("name", [*QWEN, "glm4v", "gemma4"])
def test_what_is_held_is_what_the_template_writes(tiny_processor: Any, name: str) -> None:
    """Schemas by `tools`, calls by `tool_calls`: token for token, and the tools ran."""
    renderer = with_tools(tiny_processor, name)
    talks = played(renderer, [LOOK, TWICE])
    for talk in talks:
        assert list(renderer.prompt(talk).ids) == whole(renderer, talk)
    assert len(talks[-1][-1].images) == 2
    text = renderer.tokenizer.decode(renderer.prompt(talks[0]).ids)
    assert "You look.\nAnswer the question" in text
    assert "\nTools:\n" not in text
    assert '{"name": ..., "arguments": {...}}' not in text
    assert text.count("zoom") == 1


@pytest.mark.parametrize("name", QWEN)
def test_a_demonstration_calls_in_the_familys_form(tiny_processor: Any, name: str) -> None:
    """So the cold start teaches it; all who read its text read medgym's form."""
    renderer = with_tools(tiny_processor, name)
    oracle = Imitation(renderer, load_policy("scripted:oracle")).for_case(CASE)
    episode = RULES.begin(CASE)
    reply = asyncio.run(oracle.act(episode.messages, Sampling()))
    assert reply.token_ids is not None
    written = renderer.tokenizer.decode(reply.token_ids)
    assert written.removeprefix("\n</think>\n\n").startswith("<tool_call>\n")
    assert written.endswith("\n</tool_call><|im_end|>")
    said = reply.text.removeprefix("<think>\n\n</think>")
    assert said.startswith('<tool_call>{"name": "zoom", "arguments": {"view": 0, "box": [')
    episode.step(reply)
    assert [each.fault for each in episode.turns[0].outcomes] == [None]
    assert episode.messages[2].reply is reply


def test_a_malformed_call_is_an_observation_that_shows_the_form(tiny_processor: Any) -> None:
    renderer = with_tools(tiny_processor, "qwen3_6")
    talk = played(renderer, ["<tool_call>\n<function=zoom>\n<parameter=view>\n0"])[-1]
    assert talk[-1].text.startswith("Error: cannot read a call (")
    assert "<tool_call><function=TOOL><parameter=NAME>VALUE</parameter>" in talk[-1].text


def test_medgyms_own_form_does_not_count_as_the_familys(tiny_processor: Any) -> None:
    """A demonstration has the family's form whatever it is written in; a sample has its own."""
    renderer = with_tools(tiny_processor, "qwen3_6")
    prompt = renderer.prompt(RULES.begin(CASE).messages)
    ids = tuple(renderer.tokenizer(LOOK, add_special_tokens=False)["input_ids"])
    read = renderer.read(Reply(renderer.decode_reply(ids), prompt.ids, ids), prompt)
    assert read.malformed is not None
    assert isinstance(parse_action(read.text), Malformed)


def test_a_conversation_without_tokens_is_rendered_in_the_form(tiny_processor: Any) -> None:
    """What a policy of words played can be continued by a model with another form."""
    renderer = with_tools(tiny_processor, "qwen3_6")
    episode = RULES.begin(CASE)
    episode.step(LOOK)
    assert list(renderer.prompt(episode.messages).ids) == whole(renderer, episode.messages)


def test_the_text_form_is_untouched(tiny_processor: Any) -> None:
    renderer = Renderer(tiny_processor)
    messages = RULES.begin(CASE).messages
    text = renderer.tokenizer.decode(renderer.prompt(messages).ids)
    assert RULES.instructions in text
    assert json.dumps(RULES.tools[0].schema()) in RULES.instructions
    reply = Reply("<tool_call>{", (1,), (2,))
    assert renderer.read(reply, renderer.prompt(messages)) is reply


def test_without_a_place_for_tools_the_form_is_refused(tiny_processor: Any) -> None:
    with pytest.raises(UserError, match=r'no place for tools; fix: \[tools\] form = "text"'):
        with_tools(tiny_processor, "qwen2_5_vl")


def test_a_reply_that_calls_may_end_otherwise_than_one_that_answers(tiny_processor: Any) -> None:
    """Gemma's call ends with the token that opens its result; the model stops there."""
    renderer = with_tools(tiny_processor, "gemma4")
    names = renderer.tokenizer.convert_ids_to_tokens
    assert names(renderer.encode_reply(LOOK)[-1]) == "<|tool_response>"
    assert names(renderer.encode_reply("<answer>A</answer>")[-1]) == "<turn|>"
    assert {"<|tool_response>", "<turn|>"} <= set(names(sorted(renderer.stop_token_ids)))
    assert renderer.decode_reply(renderer.encode_reply(LOOK)).endswith("<tool_call|>")


def test_a_reply_that_was_cut_in_its_thought_is_called_so(tiny_processor: Any) -> None:
    renderer = with_tools(tiny_processor, "qwen3_6")
    prompt = renderer.prompt(RULES.begin(CASE).messages)
    read = renderer.read(Reply("<think>\n<tool_call>\n<function=zoom>", cut=True), prompt)
    assert read.malformed is not None
    assert read.malformed.kind == "cut"
