"""Gradient checkpointing changes nothing but memory, and is really on where it is asked for."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from medgym.train.models.lora import part_of
from tests.families import FAMILIES, build
from tests.train.sft.test_stage import CASES, EVERYTHING, learn, play


def counted(model: Any) -> Counter[str]:
    """Counts how often the blocks of each part of a model run where gradients are taken."""
    seen: Counter[str] = Counter()

    def count(part: str, *_: object) -> None:
        if torch.is_grad_enabled():
            seen[part] += 1

    for name, module in model.named_modules():
        if name.endswith((".mlp", ".feed_forward")):
            # Before it runs: what is run again ends with the last value that is needed.
            module.register_forward_pre_hook(partial(count, part_of(name)))
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_the_same_over_a_frozen_base(family: str) -> None:
    found = {}
    for checkpointing in (False, True):
        model, processor = build(family)
        seen, losses = counted(model), []
        torch.manual_seed(0)
        learned = learn(
            model, processor, play(model, processor, CASES[:1]),
            settings={"max_steps": 1, "gradient_checkpointing": checkpointing},
            lora={"r": 2, "init_lora_weights": False}, parts=EVERYTHING,
            on_step=lambda _, logs, losses=losses: losses.append((logs["loss"], logs["grad_norm"])),
        )  # fmt: skip
        found[checkpointing] = (losses, dict(learned.named_parameters()), seen)
    (losses, weights, seen), (again, same, twice) = found[False], found[True]
    assert losses == again
    assert losses[0][1] > 0
    assert all(torch.equal(weight, same[name]) for name, weight in weights.items())
    assert twice["language"] == 2 * seen["language"] > 0, "each block runs again for its gradient"
    assert twice["vision"] == 2 * seen["vision"] > 0


def test_reinforcement_learns_the_same(make_trainer: Callable[..., Any], uneven: Any) -> None:
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        trainer = make_trainer(gradient_checkpointing=checkpointing, rules=uneven, beta=0.1)
        seen = counted(trainer.model)
        trainer.train()
        learned = {n: w for n, w in trainer.model.named_parameters() if w.requires_grad}
        logs = [(row["loss"], row["kl"]) for row in trainer.state.log_history if "kl" in row]
        found.append((logs, learned, seen))
    (logs, learned, seen), (again, same, twice) = found
    assert logs == again
    assert all(torch.equal(weight, same[name]) for name, weight in learned.items())
    assert any(weight.any() for name, weight in learned.items() if "lora_B" in name), "it learned"
    assert twice["language"] == 2 * seen["language"] > 0
