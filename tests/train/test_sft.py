"""Supervised learning is on the policy's tokens alone, exact, and the same from the same seed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from PIL import Image

from medgym.cases import open_cases
from medgym.env import load_tools
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import load_policy
from medgym.registry import load
from medgym.rollout import collect
from medgym.train.recipe import SFTTable
from medgym.train.sft import _loss, sample_of, supervised
from medgym.train.tiny_model import TinyConfig, build_model
from medgym.trajectory import InvariantError, Trajectory

RULES = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
CASES = open_cases("phantom,look=radiograph,question=kind:train[:8]")
SMALL = TinyConfig(hidden=32, text_layers=2, vision_layers=1, heads=2)

Shown = tuple[Sequence[Trajectory], Mapping[str, Image.Image]]


@pytest.fixture
def model(tiny_processor: Any) -> Any:
    return build_model(SMALL, tiny_processor.tokenizer, seed=0)


@pytest.fixture(scope="module")
def shown(tiny_processor: Any) -> Shown:
    """Demonstrations of two kinds and so of two lengths: looks and guesses."""
    player = build_model(SMALL, tiny_processor.tokenizer, seed=0)
    demonstrator = load_policy("scripted:demonstrator,good=0.5,random=0,steps=7")
    policy = load("policies", "hf")(player, tiny_processor).imitating(demonstrator)
    pictures: dict[str, Image.Image] = {}

    def keep(messages: Any) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    played = list(collect(CASES, policy, RULES, seed=1, on_messages=keep))
    assert len({len(sample_of(trajectory).ids) for trajectory in played}) == 2
    return played, pictures


def table(**changes: Any) -> SFTTable:
    return SFTTable(**{"max_steps": 3, "per_device_train_batch_size": 4} | changes)


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


def test_the_loss_is_that_of_the_plain_forward_on_the_policys_tokens(
    model: Any, tiny_processor: Any, shown: Shown
) -> None:
    trajectories, pictures = shown
    scale = torch.ones(len(tiny_processor.tokenizer))
    for sample in map(sample_of, trajectories):
        ids = torch.tensor([sample.ids])
        images = [pictures[name] for name in sample.pictures]
        with torch.no_grad():
            logits = model(
                input_ids=ids,
                mm_token_type_ids=(ids == sample.image_token).int(),
                **tiny_processor.image_processor(images=images, return_tensors="pt"),
            ).logits
            given = _loss(model, tiny_processor, [sample], pictures, scale)
        logprobs = logits.log_softmax(-1)
        expected = -sum(
            float(logprobs[0, at - 1, token])
            for at, (token, wrote) in enumerate(zip(sample.ids, sample.mask, strict=True))
            if wrote
        )
        assert float(given) == pytest.approx(expected, rel=1e-4)


def test_a_batch_of_two_lengths_has_the_sum_of_their_losses(
    model: Any, tiny_processor: Any, shown: Shown
) -> None:
    trajectories, pictures = shown
    scale = torch.ones(len(tiny_processor.tokenizer))
    samples = [sample_of(trajectory) for trajectory in trajectories]
    long = [s for s in samples if len(s.pictures) == 2][:2]
    with torch.no_grad():
        both = _loss(model, tiny_processor, long, pictures, scale)
        single = [_loss(model, tiny_processor, [sample], pictures, scale) for sample in long]
    assert float(both) == pytest.approx(float(sum(single)), rel=1e-4)


def test_what_the_policy_did_not_write_has_no_weight(
    model: Any, tiny_processor: Any, shown: Shown
) -> None:
    trajectories, pictures = shown
    scale = torch.zeros(len(tiny_processor.tokenizer))
    sample = sample_of(trajectories[0])
    with torch.no_grad():
        assert float(_loss(model, tiny_processor, [sample], pictures, scale)) == 0.0


def test_it_learns_and_the_same_seed_makes_the_same_weights(
    tiny_processor: Any, shown: Shown
) -> None:
    losses: list[float] = []
    states = []
    for seed in (3, 3, 4):
        model = build_model(SMALL, tiny_processor.tokenizer, seed=0)
        losses.clear()
        supervised(
            model,
            tiny_processor,
            *shown,
            table(max_steps=25, learning_rate=3e-3, train_vision=True),
            seed=seed,
            on_step=lambda step, loss: losses.append(loss),
        )
        assert len(losses) == 25
        assert sum(losses[-3:]) < 0.5 * sum(losses[:3])
        states.append(model.state_dict())
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert any(not states[0][name].equal(states[2][name]) for name in states[0])


@pytest.mark.parametrize("train_vision", [False, True])
def test_the_vision_tower_learns_only_where_it_is_asked_to(
    tiny_processor: Any, shown: Shown, train_vision: bool
) -> None:
    model = build_model(SMALL, tiny_processor.tokenizer, seed=0)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    supervised(model, tiny_processor, *shown, table(train_vision=train_vision), seed=0)
    changed = {
        name for name, weight in model.state_dict().items() if not weight.equal(before[name])
    }
    assert any("language_model" in name for name in changed)
    assert any(".visual." in name for name in changed) == train_vision
    assert all(weight.requires_grad for weight in model.parameters())


def test_a_weighted_token_counts_more(model: Any, tiny_processor: Any, shown: Shown) -> None:
    losses: list[float] = []
    for factor in (1.0, 3.0):
        supervised(
            build_model(SMALL, tiny_processor.tokenizer, seed=0),
            tiny_processor,
            *shown,
            table(max_steps=1),
            seed=0,
            token_weights=dict.fromkeys(range(len(tiny_processor.tokenizer)), factor),
            on_step=lambda step, loss: losses.append(loss),
        )
    assert losses[1] == pytest.approx(3 * losses[0], rel=1e-5)


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
    with pytest.raises(UserError, match="holds no tokens; mend: play it"):
        sample_of(played[0])


def test_nothing_to_imitate_is_an_error_that_says_so(model: Any, tiny_processor: Any) -> None:
    with pytest.raises(UserError, match="nothing to imitate"):
        supervised(model, tiny_processor, [], {}, table(), seed=0)
