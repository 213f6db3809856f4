"""The rollouts of a step: seeds of its generations, a notebook's loop, further groups that fail."""

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from medgym import Sampling, open_cases
from medgym.episode import Rules
from medgym.rubric import Rubric, Term
from medgym.seeds import seed_of
from medgym.storage.layout import Place
from medgym.tool import load_tools
from medgym.train.data.records import Records
from medgym.train.grpo.dynamic_sampling import Group, SkipFlat
from medgym.train.grpo.stage import train_grpo
from medgym.train.grpo.trainer import LookingTrainer
from medgym.train.models.checkpoint import load_model
from medgym.train.recipe.schema import parse_recipe

CASES = open_cases("phantom,look=radiograph,question=kind:train[:4]")


def test_a_case_that_one_step_deals_twice_is_sampled_twice(make_trainer: Any) -> None:
    played: list[Group] = []
    trainer = make_trainer(
        cases=[CASES[0], CASES[1]] * 2,
        gradient_accumulation_steps=2,
        steps_per_generation=1,
        max_steps=1,
        shuffle_dataset=False,
        on_step=lambda step, pairs: played.append([*pairs]) if step == 0 else None,
    )
    trainer.train()
    first, second = played
    assert [case.id for case, _ in first] == [case.id for case, _ in second]
    assert {t.seed for _, t in first} == {seed_of(42, 0, 0)}, "as in a step of one generation"
    assert {t.seed for _, t in second} == {seed_of(42, 0, 0, "generation", 1)}
    replies = [[node.token_ids for _, t in pairs for node in t.nodes] for pairs in played]
    assert replies[0] != replies[1]


def test_the_sampler_computes_as_the_trainer_does_in_a_notebook_too(make_trainer: Any) -> None:
    trainer = make_trainer(max_steps=1, bf16=True)
    passes: set[tuple[bool, bool, bool]] = set()

    def note(*_: object) -> None:
        mine = threading.current_thread() is threading.main_thread()
        passes.add((torch.is_grad_enabled(), mine, torch.is_autocast_enabled("cpu")))

    trainer.model.base_model.model.model.language_model.register_forward_pre_hook(note)

    async def notebook() -> None:
        trainer.train()

    asyncio.run(notebook())
    assert (False, False, True) in passes, "sampled in another thread"
    assert all(autocast for _, _, autocast in passes)


class Breaking(LookingTrainer):
    """Its machinery fails at the second member of every group that is played further."""

    def played(self, cases: Any, rules: Rules, *purpose: object) -> Group:
        pairs = super().played(cases, rules, *purpose)
        if not purpose:
            return pairs
        broken = replace(pairs[1][1], failure="tool: broken", reward=None)
        return [pairs[0], (pairs[1][0], broken), *pairs[2:]]


def test_a_further_group_that_failed_is_on_record(make_trainer: Any, tmp_path: Path) -> None:
    records = Records(tmp_path)
    flat = Rubric("flat", (Term("same", 1.0, lambda *_: 0.5),))
    trainer = make_trainer(
        Breaking,
        rules=Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2, rubric=flat),
        select=SkipFlat(CASES, seed=0, most=2, records=records),
        max_steps=1,
    )
    trainer.train()
    whys = [row["why"] for row in records.rows()]
    assert whys[0] == "a member failed"
    assert records.rows()[0]["rewards"] == [0.5, None]


def test_further_cases_are_near_the_place_that_the_step_has_a_case_from(
    tiny_folder: Path, tmp_path: Path
) -> None:
    """The second case comes again at the end, as cases do that are rehearsed."""
    cases = list(open_cases("phantom,look=radiograph,question=kind:train[:200]"))
    grpo = {
        "max_steps": 1, "per_device_train_batch_size": 4, "num_generations": 2,
        "report_to": ["none"], "save_strategy": "no",
    }  # fmt: skip
    spec = "phantom:train[:4]"
    data = {"name": "small", "model": {"path": "base"}, "cases": {"train": spec, "test": spec}}
    data |= {"curriculum": {"skip_flat": True}, "lora": {"r": 2}, "sight": {"every": 0}}
    data |= {"grpo": grpo, "rollout": {"max_turns": 1, "max_tokens": 4}}
    flat = Rubric("flat", (Term("same", 1.0, lambda *_: 0.5),))
    rules = Rules(tools=(), view_size=64, max_turns=1, rubric=flat)
    asked = parse_recipe(data, "small.toml")
    loaded = load_model(tiny_folder)
    train_grpo(asked, *loaded, [*cases, cases[1]], rules, Sampling(max_tokens=4), Place(tmp_path))
    places = {case.id: place for place, case in enumerate(cases)}
    left_out = [places[row["case"]] for row in Records(tmp_path).rows()]
    assert len(left_out) == 4
    assert max(left_out) < 64
