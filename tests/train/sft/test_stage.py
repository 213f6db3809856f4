"""Supervised learning is on the policy's tokens alone, exact, and the same from the same seed."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers.trainer_utils import get_last_checkpoint

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.policy import load_policy
from medgym.registry import load
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.sft.config import sft_config
from medgym.train.sft.samples import Collator, Sample, sample_of
from medgym.train.sft.trainer import Imitator, supervised
from medgym.train.tiny.model import TinyConfig, build_model
from medgym.trajectory import InvariantError, Trajectory
from tests.families import FAMILIES, build

RULES = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
CASES = open_cases("phantom,look=radiograph,question=kind:train[:8]")
SMALL = TinyConfig(hidden=32, text_layers=2, vision_layers=1, heads=2)
EVERYTHING = ("language", "vision", "projector")

Shown = tuple[Sequence[Trajectory], Mapping[str, Image.Image]]


@pytest.fixture
def model(tiny_processor: Any) -> Any:
    return build_model(SMALL, tiny_processor.tokenizer, seed=0)


def play(model: Any, processor: Any, cases: Any = CASES) -> Shown:
    """Demonstrations of two kinds and so of two lengths: looks and guesses."""
    demonstrator = load_policy("scripted:demonstrator,good=0.5,random=0,steps=7")
    policy = load("policies", "hf")(model, processor).imitating(demonstrator)
    pictures: dict[str, Image.Image] = {}

    def keep(messages: Any) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    return list(collect(cases, policy, RULES, seed=1, on_messages=keep, ordered=True)), pictures


@pytest.fixture(scope="module")
def shown(tiny_processor: Any) -> Shown:
    played, pictures = play(build_model(SMALL, tiny_processor.tokenizer, seed=0), tiny_processor)
    assert len({len(sample_of(trajectory).ids) for trajectory in played}) == 2
    return played, pictures


def learn(model: Any, processor: Any, shown: Shown, **changes: Any) -> Any:
    settings = {"max_steps": 3, "per_device_train_batch_size": 4, "learning_rate": 5e-4}
    settings |= changes.pop("settings", {})
    trajectories, pictures = shown
    return supervised(
        model, processor, trajectories, pictures.__getitem__, settings, **({"seed": 0} | changes)
    )


def states(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def changed(model: Any, before: Mapping[str, torch.Tensor]) -> set[str]:
    return {name for name, weight in model.state_dict().items() if not weight.equal(before[name])}


def test_a_sample_is_what_the_policy_saw_and_wrote(tiny_processor: Any, shown: Shown) -> None:
    for trajectory in shown[0]:
        sample = sample_of(trajectory)
        assert len(sample.ids) == len(sample.mask)
        wrote = [i for i, m in zip(sample.ids, sample.mask, strict=True) if m]
        replies = [
            node.text + "<|im_end|>" for node in trajectory.nodes if node.role == "assistant"
        ]
        assert tiny_processor.tokenizer.decode(wrote) == "".join(replies)
        assert sample.ids.count(sample.image_token) == 16 * len(sample.pictures)


def plain_loss(model: Any, processor: Any, samples: Sequence[Sample], pictures: Any) -> float:
    """The mean over the policy's tokens of all samples, each sample by itself and unpadded."""
    total, count = 0.0, 0
    for sample in samples:
        ids = torch.tensor([sample.ids])
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        images = [pictures[name] for name in sample.pictures]
        inputs |= processor.image_processor(images=images, return_tensors="pt")
        name = "token_type_ids" if "Gemma" in type(model).__name__ else "mm_token_type_ids"
        if "InternVL" not in type(model).__name__:
            inputs[name] = (ids == sample.image_token).long()
        with torch.no_grad():
            logprobs = model(**inputs).logits.log_softmax(-1)
        for at, (token, wrote) in enumerate(zip(sample.ids, sample.mask, strict=True)):
            if wrote:
                total -= float(logprobs[0, at - 1, token])
                count += 1
    return total / count


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_that_of_the_plain_forward_on_the_policys_tokens(
    family: str, tmp_path: Path
) -> None:
    """Padded, batched and through TRL's head, with images in the question and in tool turns."""
    from datasets import Dataset

    model, processor = build(family)
    played, pictures = play(model, processor, CASES[:5])
    samples = [sample_of(trajectory) for trajectory in played]
    assert {len(sample.pictures) for sample in samples} == {1, 2}
    model.train()
    expected = plain_loss(model, processor, samples, pictures)
    trainer = Imitator(
        model=model,
        args=sft_config({"max_steps": 1}, 0, tmp_path),
        train_dataset=Dataset.from_dict({"sample": [0]}),
        processing_class=processor,
        token_weights={},
    )
    batch = Collator(model, processor, pictures.__getitem__)(samples)
    assert float(trainer.compute_loss(model, batch).detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_in_its_language_model_alone(family: str) -> None:
    model, processor = build(family)
    shown = play(model, processor, CASES[:4])
    before = states(model)
    learn(model, processor, shown, settings={"max_steps": 2})
    names = changed(model, before)
    assert any("language_model" in name for name in names)
    assert not any("vision" in name or "visual" in name or "projector" in name for name in names)


def test_it_learns_and_the_same_seed_makes_the_same_weights(
    tiny_processor: Any, shown: Shown
) -> None:
    losses: list[float] = []
    ends = []
    for seed in (3, 3, 4):
        model = build_model(SMALL, tiny_processor.tokenizer, seed=0)
        losses.clear()
        learned = learn(
            model,
            tiny_processor,
            shown,
            settings={"max_steps": 25, "learning_rate": 3e-3},
            parts=EVERYTHING,
            seed=seed,
            on_step=lambda step, logs: losses.append(logs["loss"]),
        )
        assert len(losses) == 25
        assert sum(losses[-3:]) < 0.5 * sum(losses[:3])
        ends.append(states(learned))
    assert all(ends[0][name].equal(ends[1][name]) for name in ends[0])
    assert any(not ends[0][name].equal(ends[2][name]) for name in ends[0])


def test_a_loss_that_is_no_number_stops_the_step(
    model: Any, tiny_processor: Any, shown: Shown
) -> None:
    with torch.no_grad():
        next(model.get_output_embeddings().parameters()).fill_(float("nan"))
    with pytest.raises(RunError, match=r"^the loss of step 1 is nan; fix: a lower"):
        learn(model, tiny_processor, shown, settings={"max_steps": 2})


@pytest.mark.parametrize("parts", [("language",), EVERYTHING])
def test_the_vision_tower_learns_only_where_it_is_asked_to(
    tiny_processor: Any, model: Any, shown: Shown, parts: tuple[str, ...]
) -> None:
    before = states(model)
    learn(model, tiny_processor, shown, parts=parts)
    names = changed(model, before)
    assert any("language_model" in name for name in names)
    assert any(".visual." in name for name in names) == (parts == EVERYTHING)
    assert all(weight.requires_grad for weight in model.parameters())


def test_an_adapter_learns_and_is_merged(model: Any, tiny_processor: Any, shown: Shown) -> None:
    before = states(model)
    learned = learn(model, tiny_processor, shown, lora={"r": 2}, settings={"learning_rate": 0.1})
    after = learned.state_dict()
    assert after.keys() == before.keys()
    names = changed(learned, before)
    assert names
    assert all("language_model" in name and "_proj" in name for name in names)
    assert type(learned) is type(model)
    assert "forward" not in vars(learned)


def test_a_run_that_was_broken_off_goes_on_from_its_checkpoint(
    tiny_processor: Any, shown: Shown, tmp_path: Path
) -> None:
    settings = {"max_steps": 4, "save_steps": 2}

    def fresh() -> Any:
        return build_model(SMALL, tiny_processor.tokenizer, seed=0)

    def killed(step: int, logs: Any) -> None:
        if step == 3:
            raise KeyboardInterrupt

    whole = learn(fresh(), tiny_processor, shown, settings=settings, folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        learn(
            fresh(),
            tiny_processor,
            shown,
            settings=settings,
            folder=tmp_path / "killed",
            on_step=killed,
        )
    assert str(get_last_checkpoint(str(tmp_path / "killed"))).endswith("checkpoint-2")
    steps: list[int] = []
    resumed = learn(
        fresh(),
        tiny_processor,
        shown,
        settings=settings,
        folder=tmp_path / "killed",
        on_step=lambda step, logs: steps.append(step),
    )
    assert steps == [3, 4]
    ends = states(whole)
    assert all(weight.equal(ends[name]) for name, weight in resumed.state_dict().items())


def test_a_weighted_token_counts_more(tiny_processor: Any, shown: Shown) -> None:
    losses: list[float] = []
    for weights in ({}, dict.fromkeys(range(len(tiny_processor.tokenizer)), 3.0)):
        learn(
            build_model(SMALL, tiny_processor.tokenizer, seed=0),
            tiny_processor,
            shown,
            settings={"max_steps": 1},
            token_weights=weights,
            on_step=lambda step, logs: losses.append(logs["loss"]),
        )
    assert losses[1] == pytest.approx(3 * losses[0], rel=1e-3)


def test_a_trajectory_that_breaks_an_invariant_is_refused(shown: Shown) -> None:
    trajectory = shown[0][0]
    first, *rest = trajectory.nodes
    broken = dataclasses.replace(
        first, token_ids=first.token_ids[1:], loss_mask=first.loss_mask[1:]
    )
    with pytest.raises(InvariantError):
        sample_of(dataclasses.replace(trajectory, nodes=(broken, *rest)))


def test_a_trajectory_without_tokens_is_refused() -> None:
    played = list(collect(CASES[:1], load_policy("scripted:prior"), RULES))
    with pytest.raises(UserError, match="holds no tokens; fix: play it"):
        sample_of(played[0])


def test_what_trl_refuses_is_one_line(model: Any, tiny_processor: Any, shown: Shown) -> None:
    with pytest.raises(UserError, match=r"TRL refuses .sft.: ValueError: .*; fix: correct it"):
        learn(model, tiny_processor, shown, settings={"lr_scheduler_type": "sideways"})


def test_nothing_to_imitate_is_an_error_that_says_so(model: Any, tiny_processor: Any) -> None:
    with pytest.raises(UserError, match="nothing to imitate"):
        learn(model, tiny_processor, ([], {}))
