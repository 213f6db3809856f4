"""Sight and agreement: exact zeros for a blind model, and the right name for what is wrong."""

import asyncio
import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.local_model import LocalModel, local_model
from medgym.metrics.recorded_tokens import (
    KINDS,
    LostImages,
    hold_images,
    kinds_of,
    recorded_tokens,
)
from medgym.metrics.sight import Agreement, Change, Sight, agreement, partner, sight
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import roll_out
from medgym.tool import load_tools
from medgym.train.models.checkpoint import load_model
from medgym.trajectory import Trajectory
from tests.families import FAMILIES, blind, build

RULES = Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=3)
CASES = open_cases("phantom,look=radiograph,question=kind:train[:4]")

Played = list[tuple[Case, Trajectory]]


def play(policy: Policy, cases: Sequence[Case] = CASES) -> tuple[Played, dict[str, Any]]:
    """Episodes with their cases, and the images that they showed."""
    pictures: dict[str, Any] = {}

    def keep(messages: Any) -> None:
        pictures.update((p.sha256, p.image) for m in messages for p in m.images)

    async def all_of_them() -> list[Trajectory]:
        sampling = Sampling(max_tokens=12)
        return await asyncio.gather(
            *(roll_out(c, policy, RULES, sampling=sampling, on_messages=keep) for c in cases)
        )

    return list(zip(cases, asyncio.run(all_of_them()), strict=True)), pictures


def hf(model: Any, processor: Any) -> LocalModel:
    return local_model(model, processor, patience=None)


def told(model: Any, processor: Any, cases: Sequence[Case] = CASES) -> Any:
    """The oracle's episodes in the model's tokens: a look, then the gold answer."""
    return play(hf(model, processor).imitating(load_policy("scripted:oracle")), cases)


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> Any:
    model, processor = load_model(tiny_folder)
    return model.eval(), processor


@pytest.fixture(scope="module")
def oracle(loaded: Any) -> Any:
    return told(*loaded)


@pytest.fixture(scope="module")
def sampled(loaded: Any) -> Any:
    return play(hf(*loaded))


def test_every_token_belongs_to_a_part(loaded: Any) -> None:
    policy = hf(*loaded)
    tokenizer = policy.processor.tokenizer
    text = '<think>é</think> <tool_call>{"a": 1}</tool_call>\n<answer>B</answer>'
    ids = policy.encode_reply(text)
    kinds = kinds_of(tokenizer, ids)
    parts = dict.fromkeys(KINDS, "")
    for token, kind in zip(ids, kinds, strict=True):
        parts[kind] += tokenizer.decode([token])
    assert parts["think"].startswith("<think>")
    assert parts["think"].endswith("</think>")
    assert parts["call"] == '<tool_call>{"a": 1}</tool_call>'
    assert parts["answer"] == "B</answer>"
    assert parts["other"] == " \n<answer>"
    assert parts["end"] == "<|im_end|>"


def test_a_part_that_was_cut_reaches_to_the_end(loaded: Any) -> None:
    policy = hf(*loaded)
    tokenizer = policy.processor.tokenizer
    assert set(kinds_of(tokenizer, policy.encode_reply("<think>so far")[:-1])) == {"think"}
    assert set(kinds_of(tokenizer, policy.encode_reply("no tag")[:-1])) == {"other"}


def test_a_thought_that_the_template_opened_is_a_thought() -> None:
    """Its opening is in the prompt, and its tokens are what the policy concludes all the same."""
    policy = hf(*build("qwen3.5"))
    tokenizer = policy.processor.tokenizer
    ids = policy.encode_reply("<think>It is small.</think><answer>B</answer>")
    written = "<think>\n" + tokenizer.decode(ids[:-1])
    parts = dict.fromkeys(KINDS, "")
    for token, kind in zip(ids, kinds_of(tokenizer, ids, written), strict=True):
        parts[kind] += tokenizer.decode([token])
    assert parts["think"] == "It is small.\n</think>"
    assert parts["answer"] == "B</answer>"
    cut = ids[:5]
    assert set(kinds_of(tokenizer, cut, "<think>\n" + tokenizer.decode(cut))) == {"think"}
    # So in what was recorded: the policy's thought counts as what it concludes from the image.
    played, pictures = play(policy, CASES[:2])
    assert all(t.nodes[1].text.startswith("<think>\n") for _, t in played)
    for row in recorded_tokens(tokenizer, played, pictures):
        assert row.kinds[0] == "think"
    assert "sight/think" in sight(policy, played, pictures).figures()


def test_a_thought_in_gemmas_form_is_a_thought() -> None:
    policy = hf(*build("gemma4"))
    tokenizer = policy.processor.tokenizer
    ids = tokenizer("<|channel>thought\nsmall<channel|>x", add_special_tokens=False)["input_ids"]
    kinds = kinds_of(tokenizer, ids)
    assert set(kinds[:-1]) == {"think"}
    assert kinds[-1] == "other"


def test_looking_leaves_no_trace(loaded: Any, oracle: Any) -> None:
    model, processor = copy.deepcopy(loaded[0]), loaded[1]
    model.train()
    model.model.visual.eval()  # as a frozen part may be
    modes = {name: module.training for name, module in model.named_modules()}
    chance = torch.random.get_rng_state()
    sight(hf(model, processor), *oracle)
    agreement(hf(model, processor), *oracle)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert torch.equal(torch.random.get_rng_state(), chance)
    assert all(weight.grad is None for weight in model.parameters())


def test_a_model_that_sees_moves(loaded: Any, oracle: Any) -> None:
    seen = sight(hf(*loaded), *oracle)
    assert not seen.still
    assert len(seen.blanked) == len(seen.exchanged) == len(CASES)
    assert seen.moved is not None
    assert seen.moved > 1e-3
    figures = seen.figures()
    assert figures["sight/moved"] == seen.moved == figures["sight/answer"]
    assert figures["sight/exchanged"] == pytest.approx(sum(seen.exchanged) / len(CASES))
    assert "sight/think" not in figures, "the oracle does not think"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_blind_model_of_each_family_does_not_move_at_all(family: str) -> None:
    model, processor = build(family)
    played, pictures = told(model, processor, CASES[:2])
    assert not sight(hf(model, processor), played, pictures).still
    seen = sight(hf(blind(model), processor), played, pictures)
    assert seen.still
    assert seen.moved == 0.0


def test_a_fresh_projector_of_gemma_is_blind_by_itself() -> None:
    model, processor = build("gemma3")
    torch.nn.init.zeros_(model.model.multi_modal_projector.mm_input_projection_weight)
    assert sight(hf(model, processor), *told(model, processor, CASES[:2])).still


def test_what_an_episode_concludes_counts_with_its_thoughts() -> None:
    """An answer behind a thought that names the finding does not depend on the image any more."""
    thoughtful = Change({"think": 2.0, "answer": 0.0, "call": 9.0}, {}, 9.0)
    assert Sight((thoughtful,)).moved == 2.0
    assert Sight((Change({"call": 9.0}, {}, 9.0),)).moved is None
    assert Sight(()).moved is None
    assert not Sight(()).still


def test_images_are_exchanged_with_another_patient_who_has_another_answer(
    loaded: Any, oracle: Any
) -> None:
    rows = recorded_tokens(loaded[1].tokenizer, *oracle)
    for row in rows:
        other = partner(row, rows)
        assert other is not None
        assert other.case.group != row.case.group
        if len({each.case.answer for each in rows}) > 1:
            assert other.case.answer != row.case.answer
    alike = [replace(row, case=rows[0].case) for row in rows]
    assert partner(alike[0], alike) is None
    assert sight(hf(*loaded), oracle[0][:1], oracle[1]).exchanged == ()


def test_the_sampler_in_process_agrees(loaded: Any, sampled: Any) -> None:
    found = agreement(hf(*loaded), *sampled)
    assert sum(map(len, found.ratios.values())) > 40
    assert found.max_abs() < 1e-4
    assert found.kl() < 1e-8
    assert found.figures()["sampler/kl"] == found.kl()


def test_another_temperature_is_another_distribution(loaded: Any, sampled: Any) -> None:
    assert agreement(hf(*loaded), *sampled, temperature=0.7).kl() > 0.01


def test_dropout_shows(loaded: Any, sampled: Any) -> None:
    model = copy.deepcopy(loaded[0])
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    assert agreement(hf(model, loaded[1]), *sampled).max_abs() > 1e-3


def test_disagreement_is_found_in_the_part_where_it_is() -> None:
    found = Agreement({"call": (0.0, 0.0), "answer": (math.log(2.0),)})
    assert found.kl("call") == 0.0
    assert found.kl("answer") == pytest.approx(2 - 1 - math.log(2))
    assert found.kl() == pytest.approx((1 - math.log(2)) / 3)
    assert found.max_abs() == found.max_abs("answer") == pytest.approx(math.log(2))
    assert found.kl("end") == 0.0
    assert set(found.figures()) == {
        "sampler/kl", "sampler/max_abs", "sampler/kl/call", "sampler/kl/answer",
    }  # fmt: skip
    assert math.isfinite(Agreement({"answer": (900.0,)}).kl())
    assert Agreement().figures() == {}


def test_demonstrations_were_not_sampled(loaded: Any, oracle: Any) -> None:
    assert agreement(hf(*loaded), *oracle).ratios == {}


def test_images_that_went_missing_are_missed(loaded: Any, oracle: Any) -> None:
    played, pictures = oracle
    hold_images(played)
    (case, whole), *_ = played
    first, look, shown, *rest = whole.nodes
    without = replace(whole, nodes=(first, look, replace(shown, images=()), *rest))
    with pytest.raises(LostImages, match=r"invariant 3: images were lost .* 2 views .* 1 images"):
        hold_images([(case, without)])
    unread = replace(shown, images=tuple(replace(use, tokens=0) for use in shown.images))
    with pytest.raises(LostImages, match="became no tokens"):
        hold_images([(case, replace(whole, nodes=(first, look, unread, *rest)))])
    with pytest.raises(LostImages, match="placeholders stand for"):
        sight(hf(*loaded), [(case, without)], pictures)
    with pytest.raises(LostImages, match="did not reach the trainer"):
        sight(hf(*loaded), played, {})
