"""Checkpoints: whole or not at all, exact to resume from; and what [grpo] may not ask."""

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.trainer_utils import get_last_checkpoint

from medgym.errors import RunError, UserError
from medgym.policy import load_policy
from medgym.storage.layout import Place
from medgym.train.grpo.config import grpo_config
from medgym.train.grpo.stage import engine_of
from medgym.train.grpo.trainer import LookingTrainer
from medgym.train.recipe.schema import Recipe, parse_recipe

CHECKPOINTS: dict[str, Any] = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}


def learned(trainer: LookingTrainer) -> dict[str, torch.Tensor]:
    return {n: w.detach().clone() for n, w in trainer.model.named_parameters() if w.requires_grad}


class Full(LookingTrainer):
    """Its disk takes no file of more than a few bytes when the third checkpoint is written."""

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.state.global_step < 3:
            return super()._save_optimizer_and_scheduler(output_dir)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
        try:
            super()._save_optimizer_and_scheduler(output_dir)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_fills_leaves_the_last_checkpoint_whole(
    make_trainer: Any, uneven: Any, tmp_path: Path
) -> None:
    undisturbed = make_trainer(max_steps=4, rules=uneven, output_dir=str(tmp_path / "undisturbed"))
    undisturbed.train()

    folder = tmp_path / "full"
    order: list[Any] = []

    def keep(step: int, pairs: Any) -> None:
        order.append((step, [case.id for case, _ in pairs]))

    asked = {"max_steps": 4, "output_dir": str(folder), "on_step": keep, "rules": uneven}
    asked |= CHECKPOINTS
    with pytest.raises(RunError, match=r"checkpoint-3 cannot be written .*fix: make") as said:
        make_trainer(Full, **asked).train()
    assert "\n" not in str(said.value)
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "checkpoint-1",
        "checkpoint-2",
    ]

    again = make_trainer(**asked)
    (folder / ".tmp-checkpoint" / "checkpoint-3").mkdir(parents=True)  # as a kill would leave it
    last = get_last_checkpoint(str(folder))
    assert last is not None
    assert last.endswith("checkpoint-2")
    again.train(resume_from_checkpoint=last)
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "checkpoint-3",
        "checkpoint-4",
    ]
    assert [step for step, _ in order] == [0, 1, 2, 2, 3], "the third step was taken again"
    assert order[2] == order[3]
    mine, theirs = learned(again), learned(undisturbed)
    assert any(weight.any() for name, weight in mine.items() if "lora_B" in name), "it learned"
    assert all(torch.equal(mine[name], weight) for name, weight in theirs.items())


def recipe(**tables: Any) -> Recipe:
    cases = {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}
    data = {"name": "small", "model": {"path": "base"}, "cases": cases, **tables}
    return parse_recipe(data, "small.toml")


@pytest.mark.parametrize(
    ("grpo", "said"),
    [
        ({"num_generations": 3, "per_device_train_batch_size": 4}, r"TRL refuses \[grpo\]"),
        (
            {"per_device_train_batch_size": "four"},
            "grpo.per_device_train_batch_size: 'four' is no whole number",
        ),
        ({"num_iterations": 4, "save_steps": 6}, "4 steps share what was played .*multiple of 4"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    grpo: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        grpo_config(recipe(grpo=grpo), tmp_path)
    assert "\n" not in str(caught.value)


def test_checkpoints_between_generations_are_fine(tmp_path: Path) -> None:
    config = grpo_config(recipe(grpo={"num_iterations": 4, "save_steps": 8}), tmp_path)
    assert config.save_steps == 8
    config = grpo_config(recipe(grpo={"report_to": ["none"], "save_steps": 1}), tmp_path)
    assert config.report_to == []


@pytest.mark.parametrize(
    ("rollout", "lora", "said"),
    [
        ({"policy": "scripted:oracle"}, {}, r"\[rollout\] policy needs \[lora\]"),
        ({"policy": "scripted:oracle"}, {"r": 2}, "scripted:oracle can play, but not train"),
        ({"policy": "openai:http://127.0.0.1:9/v1#m"}, {"r": 2}, "nothing answers"),
    ],
)
def test_an_engine_that_cannot_train_is_refused(
    rollout: dict[str, Any], lora: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        engine_of(recipe(rollout=rollout, lora=lora), Place(tmp_path))


def test_an_engine_that_is_refused_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    engine = load_policy("scripted:oracle")
    monkeypatch.setattr(engine, "close", lambda: closed.append(True))
    monkeypatch.setattr("medgym.train.grpo.stage.load_policy", lambda _, **__: engine)
    with pytest.raises(UserError, match="can play, but not train"):
        engine_of(recipe(rollout={"policy": "scripted:oracle"}, lora={"r": 2}), Place(tmp_path))
    assert closed == [True]


def small(**tables: Any) -> Recipe:
    grpo = {
        "max_steps": 4, "per_device_train_batch_size": 4, "num_generations": 2, "beta": 0.0,
        "learning_rate": 1e-3, "save_steps": 4, "report_to": ["none"],
    }  # fmt: skip
    return recipe(**({"grpo": grpo, "rollout": {"max_turns": 2, "max_tokens": 6}} | tables))


def train(recipe: Recipe, model: Path, folder: Path, rules: Any, **more: Any) -> Place:
    from medgym import Sampling, open_cases
    from medgym.train.grpo.stage import train_grpo
    from medgym.train.models.checkpoint import load_model

    place = Place(folder, **({"role": more.pop("role")} if "role" in more else {}))
    folder.mkdir(exist_ok=True)
    cases = open_cases("phantom,look=radiograph,question=kind:train[:16]")
    sampling = Sampling(max_tokens=6)
    train_grpo(recipe, *load_model(model), cases, rules, sampling, place, **more)
    return place


def test_two_rounds_are_as_good_as_one(tiny_folder: Path, tmp_path: Path, uneven: Any) -> None:
    asked = small(lora={"r": 2})
    whole = train(asked, tiny_folder, tmp_path / "whole", uneven)
    for until in (2, 4):
        train(asked, tiny_folder, tmp_path / "rounds", uneven, until=until, role="triage")
    adapters = tmp_path / "rounds" / "adapters" / "triage"
    assert sorted(path.name for path in adapters.iterdir()) == ["2", "4"]
    last = "adapter_model.safetensors"
    expected = (whole.folder / "adapters" / "policy" / "4" / last).read_bytes()
    assert (adapters / "4" / last).read_bytes() == expected
    steps = [json.loads(x)["step"] for x in (tmp_path / "rounds/metrics-triage.jsonl").open()]
    assert steps == [1, 2, 3, 4]
    shutil.rmtree(adapters / "4")  # killed between the last checkpoint and this
    train(asked, tiny_folder, tmp_path / "rounds", uneven, until=4, role="triage")
    assert (adapters / "4" / last).read_bytes() == expected


def test_credit_by_turns_is_asked_for_in_the_recipe_and_resumes_exactly(
    tiny_folder: Path, tmp_path: Path, uneven: Any
) -> None:
    asked = small(lora={"r": 2})
    keys = {"max_steps": 2, "save_steps": 1, "credit": "turn", "credit_branches": 1}
    asked = asked.model_copy(update={"grpo": asked.grpo | keys})
    whole = train(asked, tiny_folder, tmp_path / "whole", uneven)
    logged = [json.loads(line) for line in whole.metrics.open()]
    assert [row["credit/branches"] for row in logged] == [4, 4]  # each after its first turn
    for until in (1, 2):
        train(asked, tiny_folder, tmp_path / "rounds", uneven, until=until)
    adapter = "adapters/policy/2/adapter_model.safetensors"
    assert (tmp_path / "rounds" / adapter).read_bytes() == (whole.folder / adapter).read_bytes()


def test_without_lora_the_named_parts_of_the_model_learn(
    tiny_folder: Path, tmp_path: Path, uneven: Any
) -> None:
    from safetensors.torch import load_file

    asked = small(model={"path": "base", "adapt": ["projector"]})
    train(asked, tiny_folder, tmp_path / "run", uneven)
    before, after = (
        load_file(folder / "model.safetensors")
        for folder in (tiny_folder, tmp_path / "run/trained")
    )
    moved = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert moved
    assert all("merger" in name for name in moved)


def test_what_learns_is_said_once(tiny_folder: Path, tmp_path: Path, uneven: Any) -> None:
    asked = small(
        lora={"r": 2, "target_modules": ["q_proj"]}, model={"path": "base", "adapt": ["vision"]}
    )
    with pytest.raises(UserError, match="both say what learns"):
        train(asked, tiny_folder, tmp_path / "run", uneven)


@pytest.mark.parametrize("report_to", ["wandb", "nothing-known"])
def test_reporting_to_what_is_not_there_is_one_line(
    report_to: str, tiny_folder: Path, tmp_path: Path, uneven: Any
) -> None:
    asked = small(lora={"r": 2})
    asked = asked.model_copy(update={"grpo": asked.grpo | {"report_to": [report_to]}})
    if report_to == "wandb":
        from transformers.integrations import is_wandb_available

        if is_wandb_available():
            pytest.skip("W&B is installed")
    with pytest.raises(UserError, match=r"TRL refuses .*fix: ") as caught:
        train(asked, tiny_folder, tmp_path / "run", uneven)
    assert "\n" not in str(caught.value)
