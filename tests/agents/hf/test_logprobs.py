"""Teacher forcing gives the log-probabilities of a plain forward pass, and leaves no trace."""

import copy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from PIL import Image

from medgym.agents.hf.inputs import token_inputs
from medgym.agents.hf.policy import HFPolicy
from medgym.local_model import ForcedTokens, load_local_model
from medgym.messages import ImagePart, message


@pytest.fixture(scope="module")
def policy(tiny_folder: Path) -> HFPolicy:
    made = load_local_model(str(tiny_folder), patience=None)
    assert isinstance(made, HFPolicy)
    return made


def row(policy: HFPolicy, text: str, *colours: int) -> ForcedTokens:
    """A question with a grey image of each value, and a reply."""
    images = [Image.new("L", (64, 64), value).convert("RGB") for value in colours]
    prompt = policy.prompt([message("user", "Which?", [ImagePart(0, each) for each in images])])
    reply = policy.encode_reply(text)
    places = tuple(range(len(prompt.ids), len(prompt.ids) + len(reply)))
    return ForcedTokens(prompt.ids + reply, places, prompt.images)


@torch.no_grad()
def test_they_are_those_of_a_plain_forward_pass(policy: HFPolicy) -> None:
    rows = [row(policy, "A", 10, 200), row(policy, "longer", 10), row(policy, "B", 40, 50)]
    banned = policy.vision_token_ids
    found = policy.logprobs(rows, temperature=0.5, banned=banned)
    for each, values in zip(rows, found, strict=True):
        inputs = token_inputs(policy.model, policy.renderer, [each.ids], each.images)
        scores = policy.model(**inputs).logits[0].double()
        scores[:, list(banned)] = -torch.inf
        logprobs = torch.log_softmax(scores / 0.5, dim=-1)
        want = [float(logprobs[place - 1, each.ids[place]]) for place in each.places]
        assert values == pytest.approx(want, abs=1e-4)


def test_other_images_may_be_shown_in_their_place(policy: HFPolicy) -> None:
    given, other = row(policy, "A", 10, 200), row(policy, "A", 90, 90)
    assert policy.logprobs([given], [other.images]) == policy.logprobs([other])
    assert policy.logprobs([given]) != policy.logprobs([other])


def test_it_leaves_no_trace_in_either_mode(policy: HFPolicy) -> None:
    own = HFPolicy(copy.deepcopy(policy.model), policy.processor)
    for module in own.model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    own.model.train()
    own.model.model.visual.eval()  # as a frozen part may be
    modes = {name: module.training for name, module in own.model.named_modules()}
    state = torch.random.get_rng_state()
    evaluated = own.logprobs([row(own, "A", 10)])
    assert own.logprobs([row(own, "A", 10)], training=True) != evaluated, "with dropout"
    assert {name: module.training for name, module in own.model.named_modules()} == modes
    assert torch.equal(torch.random.get_rng_state(), state)


def test_features_are_counted_by_the_vision_tower(policy: HFPolicy) -> None:
    prompt: Any = policy.prompt([message("user", "?", [ImagePart(0, Image.new("RGB", (96, 64)))])])
    assert policy.count_image_features(prompt.images) == sum(prompt.image_tokens) > 0
