"""What each family's conversations hold: its images, its end tokens."""

import pytest

pytest.importorskip("trl")

import torch

from medgym.agents.hf.inputs import model_inputs
from medgym.agents.rendering import Renderer
from medgym.messages import Message, Reply, TextPart, message
from medgym.models import as_stops
from tests.agents.test_rendering import OPENING, picture, replied, whole
from tests.families import FAMILIES, build
from tests.families.glm import STOPS


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_holds_what_its_template_writes(family: str) -> None:
    """Two images in the question and one behind a reply, and all features are counted."""
    model, processor = build(family)
    renderer = Renderer(processor, as_stops(model.generation_config.eos_token_id))
    question = message("user", "Which?", [picture(0, 64, 48), picture(1, 40, 96)])
    conversation = [message("system", "Answer."), question]
    conversation.append(replied(renderer, conversation, "look"))
    conversation.append(message("tool", "View 2.", [picture(2, 32, 80)]))
    prompt = renderer.prompt(conversation)
    assert prompt.ids.count(renderer.image_token_id) == sum(prompt.image_tokens)
    assert len(prompt.image_tokens) == 3
    with torch.no_grad():
        made = model(**model_inputs(model, renderer, [prompt])).logits  # else it raises
    assert made.shape[1] == len(prompt.ids)
    if family != "llava-onevision":  # it asks for a reply otherwise than it writes one
        assert list(prompt.ids) == whole(renderer, conversation)[0]


def glm() -> Renderer:
    model, processor = build("glm4v")
    return Renderer(processor, model.generation_config.eos_token_id)


def test_a_reply_that_ends_with_the_next_turns_token_is_continued_by_it() -> None:
    """GLM ends a turn by beginning the next one: the token is held once, as the template has it."""
    renderer = glm()
    names = renderer.tokenizer.convert_ids_to_tokens
    assert names(renderer.eos_token_id) == "<|observation|>"
    assert set(names(sorted(renderer.stop_token_ids))) == set(STOPS)
    conversation = list(OPENING)
    for turn, text in enumerate(("look", "again")):
        conversation.append(replied(renderer, conversation, text))
        conversation.append(message("tool", f"View {turn + 1}.", [picture(turn + 1)]))
    prompt = renderer.prompt(conversation)
    assert list(prompt.ids) == whole(renderer, conversation)[0]
    assert prompt.ids.count(renderer.eos_token_id) == 2
    assert prompt.ids.count(renderer.image_token_id) == sum(prompt.image_tokens)


@pytest.mark.parametrize(
    ("text", "end"), [("<answer>A</answer>", "<|user|>"), ("look", "<|observation|>")]
)
def test_a_demonstration_ends_as_the_template_goes_on(text: str, end: str) -> None:
    renderer = glm()
    *ids, last = renderer.encode_reply(text)
    assert renderer.tokenizer.convert_ids_to_tokens(last) == end
    assert renderer.decode_reply([*ids, last]) == text == renderer.tokenizer.decode(ids)


def test_what_the_sampler_ended_with_is_held_whatever_it_is() -> None:
    renderer = glm()
    first = renderer.prompt(OPENING)
    for end, tail in (("<|endoftext|>", "<|observation|>\nV"), ("<|observation|>", "\nV")):
        ids = (*renderer.encode_reply("look")[:-1], renderer.tokenizer.convert_tokens_to_ids(end))
        reply = Reply("look", first.ids, ids, (-1.0,) * len(ids), first.image_tokens)
        said = [*OPENING, Message("assistant", (TextPart("look"),), reply), message("tool", "V")]
        prompt = renderer.prompt(said)
        assert prompt.ids[: prompt.held] == first.ids + ids
        held = renderer.tokenizer.decode(prompt.ids[prompt.held :])
        assert held == f"{tail}<|assistant|>\n"
