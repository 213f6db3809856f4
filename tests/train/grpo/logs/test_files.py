"""What a training writes down: a line for every step, trajectories before every checkpoint."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medgym import Sampling, open_cases
from medgym.storage.layout import Place
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.grpo.logs.files import MetricsFile
from medgym.train.grpo.stage import train_grpo
from medgym.train.grpo.trainer import LookingTrainer
from medgym.train.models.checkpoint import load_model
from medgym.train.recipe.schema import parse_recipe


def train(model: Path, folder: Path, rules: Any, **grpo: Any) -> Place:
    """Four steps of two groups of two, over four cases: an epoch is two steps."""
    keys = {
        "max_steps": 4, "per_device_train_batch_size": 4, "num_generations": 2, "beta": 0.0,
        "learning_rate": 1e-3, "save_steps": 4, "report_to": ["none"],
    }  # fmt: skip
    data = {
        "name": "small",
        "model": {"path": "base"},
        "cases": {"train": "phantom:train[:4]", "test": "phantom:test[:4]"},
        "rollout": {"max_turns": 2, "max_tokens": 6},
        "sight": {"every": 0},
        "lora": {"r": 2},
        "grpo": keys | grpo,
    }
    recipe, place = parse_recipe(data, "small.toml"), Place(folder)
    cases = open_cases("phantom,look=radiograph,question=kind:train[:4]")
    train_grpo(recipe, *load_model(model), cases, rules, Sampling(max_tokens=6), place)
    return place


def test_a_step_that_learns_again_from_what_was_played_has_its_line(
    tiny_folder: Path, tmp_path: Path, uneven: Any
) -> None:
    place = train(tiny_folder, tmp_path, uneven, num_iterations=2)
    rows = [json.loads(line) for line in place.metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "reward" in row] == [1, 3]
    assert all("clip_ratio/region_mean" in row for row in rows)
    for row in rows:
        assert row["seconds/learning"] > 0
        parts = sum(row[f"seconds/{part}"] for part in ("playing", "watching", "learning"))
        assert parts == pytest.approx(row["step_time"])
    played = [row["step"] for row in rows if row["seconds/playing"] > 0]
    assert played == [row["step"] for row in rows if "tokens_per_second/sampled" in row] == [1, 3]


@pytest.mark.parametrize(
    ("strategy", "parts"), [("epoch", [2, 4]), ("no", [4]), ("steps", [1, 2, 3, 4])]
)
def test_a_checkpoint_never_lacks_what_led_to_it(
    strategy: str,
    parts: list[int],
    tiny_folder: Path,
    tmp_path: Path,
    uneven: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: dict[int, list[str]] = {}
    save = LookingTrainer._save_checkpoint
    store = TrajectoryStore(Place(tmp_path).rollouts)

    def looking(self: LookingTrainer, model: Any, trial: Any) -> None:
        save(self, model, trial)
        found[self.state.global_step] = [part.name for part in store.parts()]

    monkeypatch.setattr(LookingTrainer, "_save_checkpoint", looking)
    train(tiny_folder, tmp_path, uneven, save_strategy=strategy, save_steps=1)
    names = [f"part-{step:05d}.parquet" for step in parts]
    assert [part.name for part in store.parts()] == names
    assert len(list(store)) == 16
    saved = parts if strategy != "no" else []
    assert found == {step: names[: place + 1] for place, step in enumerate(saved)}


def test_a_step_without_any_reward_still_writes_its_line(tmp_path: Path) -> None:
    advanced: list[Any] = []
    metrics = MetricsFile(Place(tmp_path), 0, lambda n=1, /, **_: advanced.append(n))
    state: Any = SimpleNamespace(global_step=1)
    args: Any = None
    metrics.on_log(args, state, args, {"reward": None, "loss": 0.5})
    metrics.on_log(args, state, args, {"train_runtime": 3.0})  # of the whole training
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line == {"step": 1, "loss": 0.5}
    assert advanced == [1]
