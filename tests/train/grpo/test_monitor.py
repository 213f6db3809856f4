"""A run that goes blind, or loses images on the way, stops by the right name."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from medgym.messages import Message
from medgym.metrics.recorded_tokens import LostImages
from medgym.train.grpo import batch
from medgym.train.grpo import trainer as grpo
from medgym.train.grpo.blindness import Blind, BlindnessCheck
from medgym.train.grpo.monitor import SightMonitor
from medgym.train.models.checkpoint import load_model
from medgym.train.recipe.schema import SightTable
from medgym.trajectory import InvariantError
from tests.families import blind
from tests.train.doctor.test_command import drop_in_environment, drop_in_trainer
from tests.train.grpo.test_families import Led

EVERY = SightTable(every=1, floor=0.01, patience=2)


def test_figures_are_logged_every_so_many_steps(make_trainer: Any) -> None:
    monitor = SightMonitor(SightTable(every=2), temperature=1.0)
    trainer = make_trainer(monitor=monitor, max_steps=3)
    trainer.train()
    first, second, third = trainer.state.log_history[:3]
    for name in ("sight/other", "sampler/kl", "sampler/max_abs", "looking/exchanged_reward"):
        assert name in first
        assert name not in second
        assert name in third
    assert first["sampler/max_abs"] < 1e-4, "in process, sampler and trainer are one model"


def test_a_step_that_generates_twice_is_one_look(
    make_trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    see = BlindnessCheck.see

    def counted(self: BlindnessCheck, *args: Any, **kwargs: Any) -> None:
        looks.append(trainer.state.global_step)
        see(self, *args, **kwargs)

    monkeypatch.setattr(BlindnessCheck, "see", counted)
    trainer = make_trainer(
        monitor=SightMonitor(EVERY, temperature=1.0),
        max_steps=2,
        gradient_accumulation_steps=2,
        steps_per_generation=1,
    )
    trainer.train()
    assert looks == [0, 1]


def test_watching_changes_nothing_of_what_is_learned(make_trainer: Any, uneven: Any) -> None:
    made = []
    for monitor in (None, SightMonitor(EVERY, temperature=1.0)):
        trainer = make_trainer(monitor=monitor, rules=uneven)
        trainer.train()
        made.append({n: w.clone() for n, w in trainer.model.named_parameters() if w.requires_grad})
    assert all(torch.equal(made[1][name], weight) for name, weight in made[0].items())


def test_a_model_whose_features_are_zero_is_blind(tiny_folder: Any, make_trainer: Any) -> None:
    model, processor = load_model(tiny_folder)
    trainer = make_trainer(
        loaded=(blind(model), processor), monitor=SightMonitor(EVERY, temperature=1.0)
    )
    with pytest.raises(Blind, match=r"the model is blind: .*fix: "):
        trainer.train()
    assert trainer.state.global_step == 0


def test_images_dropped_before_the_trainer_are_missed(
    make_trainer: Any, tiny_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_in_trainer(monkeypatch, batch)
    model, processor = load_model(tiny_folder)
    trainer = make_trainer(loaded=(model, processor), policy=Led(model, processor))
    with pytest.raises(LostImages, match=r"invariant 3: images were lost on the way: .* reach"):
        trainer.train()


def test_images_that_the_environment_drops_are_missed(
    make_trainer: Any, tiny_folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_in_environment(monkeypatch)
    model, processor = load_model(tiny_folder)
    trainer = make_trainer(loaded=(model, processor), policy=Led(model, processor))
    with pytest.raises(LostImages, match="2 views were made and 1 images shown"):
        trainer.train()


class Careless(Led):
    """Does not show its model the images of later turns."""

    async def act(self, conversation: Sequence[Message], sampling: Any) -> Any:
        kept = [
            replace(m, content=tuple(p for p in m.content if p not in m.images))
            if m.role == "tool"
            else m
            for m in conversation
        ]
        return await super().act(kept, sampling)


def test_images_that_the_sampler_never_saw_are_missed(make_trainer: Any, tiny_folder: Any) -> None:
    model, processor = load_model(tiny_folder)
    trainer = make_trainer(loaded=(model, processor), policy=Careless(model, processor))
    with pytest.raises(InvariantError, match=r"invariant 3: .* an image was encoded as nothing"):
        trainer.train()


def test_trl_that_drops_the_images_of_a_batch_is_noticed(
    make_trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = grpo.as_trl

    def cut(*args: Any) -> Any:  # a completion cut through an image, as a length limit would
        made = list(whole(*args))
        made[0][0] = made[0][0][-30:]
        return tuple(made)

    monkeypatch.setattr(grpo, "as_trl", cut)
    with pytest.raises(LostImages, match=r"images were shown and 0 reach the model"):
        make_trainer().train()
