"""Evaluation during training: it changes nothing, it finds the best checkpoint, it stops early."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from medgym import Sampling, open_cases
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.storage.adapters import final
from medgym.storage.layout import Place
from medgym.storage.trajectories import TrajectoryStore
from medgym.tool import load_tools
from medgym.train.grpo import evaluation
from medgym.train.grpo.config import grpo_config
from medgym.train.grpo.evaluation import EvaluatesEpisodes, HeldOut
from medgym.train.grpo.stage import train_grpo
from medgym.train.grpo.trainer import LookingTrainer
from medgym.train.models.checkpoint import load_model
from medgym.train.recipe.evaluating import EVALUATED
from medgym.train.recipe.schema import Recipe, parse_recipe

pytestmark = pytest.mark.slow

HELD_OUT = "phantom,look=radiograph,question=kind:validation[:5]"
WEIGHTS = "adapter_model.safetensors"


def recipe(steps: int = 4, **tables: Any) -> Recipe:
    """A step learns from half of a generation, whose halves are drawn from torch's random state."""
    grpo = {
        "max_steps": steps, "per_device_train_batch_size": 4, "num_generations": 2, "beta": 0.0,
        "learning_rate": 1e-3, "save_steps": 2, "report_to": ["none"], "steps_per_generation": 2,
    }  # fmt: skip
    grpo |= tables.pop("grpo", {})
    data = {
        "name": "small",
        "model": {"path": "base"},
        "cases": {"train": "phantom:train[:4]", "test": "phantom:test[:4]"},
        "rollout": {"max_turns": 2, "max_tokens": 6},
        "lora": {"r": 2},
        "grpo": grpo,
        **tables,
    }
    return parse_recipe(data, "small.toml")


def judged(every: int = 2, **keys: Any) -> dict[str, Any]:
    return {"judge": {"every": every, "cases": HELD_OUT, **keys}}


def train(recipe: Recipe, model: Path, folder: Path, rules: Rules) -> Place:
    folder.mkdir(exist_ok=True)
    place = Place(folder)
    if not place.cold_start.exists():
        place.cold_start.symlink_to(model)
    held_out = None
    if recipe.judge.cases is not None:
        its_rules = Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2)
        held_out = HeldOut(open_cases(recipe.judge.cases), its_rules, seed=7)
    cases = open_cases("phantom,look=radiograph,question=kind:train[:16]")
    model_and_processor = load_model(model)
    train_grpo(
        recipe, *model_and_processor, cases, rules, Sampling(max_tokens=6), place,
        held_out=held_out,
    )  # fmt: skip
    return place


def rows(place: Place) -> list[dict[str, float]]:
    return [json.loads(line) for line in place.metrics.read_text().splitlines()]


def evaluations(place: Place) -> list[dict[str, float]]:
    return [row for row in rows(place) if EVALUATED in row]


def adapter(place: Place, step: int) -> bytes:
    return (place.folder / "adapters" / "policy" / str(step) / WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def rules() -> Rules:
    from medgym.rubric import Rubric, Term

    term = Term("uneven", 1.0, lambda _, episode: sum(map(ord, episode.turns[0].reply)) % 7 / 7)
    rubric = Rubric("uneven", (term,))
    return Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2, rubric=rubric)


@pytest.fixture(scope="module")
def plain(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory, rules: Rules) -> Place:
    return train(recipe(), tiny_folder, tmp_path_factory.mktemp("plain"), rules)


def test_training_goes_on_as_if_it_had_not_been_evaluated(
    plain: Place, tiny_folder: Path, tmp_path: Path, rules: Rules
) -> None:
    place = train(recipe(**judged(1)), tiny_folder, tmp_path, rules)
    assert adapter(place, 4) == adapter(plain, 4)
    clocks = ("seconds", "tokens_per", "step_time")
    for mine, theirs in zip(
        (row for row in rows(place) if "loss" in row), rows(plain), strict=True
    ):
        same = mine.keys() | theirs.keys()
        assert {k for k in same if mine.get(k) != theirs.get(k)} <= {
            k for k in same if k.startswith(clocks)
        }
    assert [row["step"] for row in evaluations(place)] == [1, 2, 3, 4]
    for row in evaluations(place):
        assert row["eval_cases"] == 5
        assert row["eval_failures"] == 0
        assert row["eval_accuracy_low"] <= row["eval_accuracy"] <= row["eval_accuracy_high"]
        assert row["eval_accuracy_high"] - row["eval_accuracy_low"] > 0.4  # Wilson's, of five cases
        assert "eval_looking/looked" in row
        assert "eval_loss" not in row
    store = TrajectoryStore(place.evaluations)
    assert [part.name for part in store.parts()] == [f"part-0000{n}.parquet" for n in (1, 2, 3, 4)]
    ids = [case.id for case in open_cases(HELD_OUT)]
    assert [trajectory.case_id for trajectory in store] == ids * 4


def scripted(monkeypatch: pytest.MonkeyPatch, *accuracies: float) -> None:
    """Have the evaluations find these accuracies, one after another."""
    figures, left = evaluation._figures, list(accuracies)

    def found(held_out: HeldOut, played: Sequence[Any]) -> dict[str, Any]:
        return figures(held_out, played) | {"accuracy": left.pop(0)}

    monkeypatch.setattr(evaluation, "_figures", found)


def test_the_best_checkpoint_is_published(
    plain: Place,
    tiny_folder: Path,
    tmp_path: Path,
    rules: Rules,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = recipe(8, **judged(best=True))
    scripted(monkeypatch, 0.1, 0.5, 0.5, 0.2)
    place = train(asked, tiny_folder, tmp_path / "run", rules)
    assert "of 8 steps, step 4 is kept as the best: 50.0% right" in capsys.readouterr().err
    version = final(place.folder, "policy")
    assert version is not None
    assert version.step == 4
    assert place.trained[1] == place.folder / "adapters/policy/4"
    kept = place.checkpoints / "checkpoint-4"
    mine, theirs = load_file(kept / WEIGHTS), load_file(version.path / WEIGHTS)
    assert all((mine[name] == weight).all() for name, weight in theirs.items())

    # The folder moves, and what was published is lost: the best one is found again, not the last.
    moved = Place(tmp_path / "moved")
    place.folder.rename(moved.folder)
    shutil.rmtree(moved.folder / "adapters")
    train(asked, tiny_folder, moved.folder, rules)
    assert (moved.folder / "adapters/policy/4" / WEIGHTS).exists()


def test_a_resumed_run_remembers_its_best(
    tiny_folder: Path, tmp_path: Path, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = LookingTrainer._generate

    def killed(self: LookingTrainer, prompts: list[Any]) -> Any:
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return generate(self, prompts)

    asked = recipe(6, **judged(best=True))
    with monkeypatch.context() as patch:
        scripted(patch, 0.5, 0.1)
        patch.setattr(LookingTrainer, "_generate", killed)
        with pytest.raises(KeyboardInterrupt):
            train(asked, tiny_folder, tmp_path / "run", rules)
    (tmp_path / "run").rename(tmp_path / "moved")
    with monkeypatch.context() as patch:
        scripted(patch, 0.2)
        place = train(asked, tiny_folder, tmp_path / "moved", rules)
    assert place.trained[1] == place.folder / "adapters/policy/2"
    assert [row["step"] for row in evaluations(place)] == [2, 4, 6]
    shutil.rmtree(place.checkpoints / "checkpoint-2")
    with pytest.raises(RunError, match=r"the best checkpoint .*-2 is gone; fix: restore it"):
        train(asked, tiny_folder, place.folder, rules)


def test_training_stops_where_nothing_gets_better(
    tiny_folder: Path, tmp_path: Path, rules: Rules
) -> None:
    asked = recipe(12, **judged(best=True, patience=2))
    place = train(asked, tiny_folder, tmp_path, rules)  # which is never right
    assert [row["step"] for row in evaluations(place)] == [2, 4, 6]
    assert [row["step"] for row in rows(place) if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert place.trained[1] == place.folder / "adapters/policy/2"
    shutil.rmtree(place.folder / "adapters")  # killed before it was published
    train(asked, tiny_folder, tmp_path, rules)
    assert len(evaluations(place)) == 3, "it has not gone on"
    assert place.trained[1] == place.folder / "adapters/policy/2"


def test_an_engine_is_evaluated_by_the_newest_weights_and_trains_as_before(
    tiny_folder: Path, tmp_path: Path, rules: Rules
) -> None:
    rollout = {
        "max_turns": 2, "max_tokens": 6, "policy": "hf:{base}", "publish_every": 2,
    }  # fmt: skip
    alone = {"grpo": {"steps_per_generation": 1, "save_steps": 4}, "rollout": rollout}
    before = train(recipe(3, **alone), tiny_folder, tmp_path / "plain", rules)
    place = train(recipe(3, **alone, **judged(1)), tiny_folder, tmp_path / "judged", rules)
    tokens = [
        [[node.token_ids for node in t.nodes] for t in TrajectoryStore(each.rollouts)]
        for each in (place, before)
    ]
    assert tokens[0] == tokens[1]
    # Its log-probabilities, which correct the loss, are rounded by what its prefix cache holds.
    mine, theirs = (
        load_file(each.folder / "adapters/policy/3" / WEIGHTS) for each in (place, before)
    )
    assert all(torch.allclose(mine[name], weight, atol=1e-5) for name, weight in theirs.items())
    played = [t.version.rpartition("-")[0] for t in TrajectoryStore(place.evaluations)]
    assert played == [f"policy-judged-{step}" for step in (1, 2, 3) for _ in range(5)]
    assert {t.version for t in TrajectoryStore(place.rollouts)} == {"", "policy-2"}
    assert {path.name for path in (place.folder / "adapters").rglob("*-judged-*")} == set()


def test_an_engine_sleeps_after_its_evaluation(
    rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Player:
        def resume(self) -> None:
            said.append("resume")

        def pause(self) -> None:
            said.append("pause")

    class Follower:
        @contextmanager
        def judged(self, model: Any, step: int) -> Iterator[Player]:
            yield Player()
            said.append("drop")  # which wakes an engine

    class Loop:
        def evaluation_loop(self) -> Any:
            said.append("play")
            return SimpleNamespace(metrics={})

    class Evaluating(EvaluatesEpisodes, Loop):
        pass

    monkeypatch.setattr(evaluation, "_figures", lambda *_: {})
    trainer: Any = Evaluating()
    trainer.held_out = HeldOut((), rules, seed=0)
    trainer.publisher, trainer._policy = Follower(), Player()
    trainer.model, trainer.state = None, SimpleNamespace(global_step=1)
    trainer._rollouts = SimpleNamespace(begin=lambda: None)
    trainer.accelerator = SimpleNamespace(
        unwrap_model=lambda model: model, num_processes=1, is_main_process=True
    )
    trainer.evaluation_loop()
    assert said == ["resume", "play", "drop", "pause"]


@pytest.mark.parametrize(
    ("judge", "grpo", "said"),
    [
        ({"every": 2}, {}, r"\[judge\] has no cases; fix: set cases"),
        ({"cases": HELD_OUT}, {}, r"\[judge\] evaluates never; fix: set every"),
        ({"every": 2, "cases": HELD_OUT, "patience": 2}, {}, "needs best = true"),
        ({"every": 0, "best": True}, {}, "evaluates never"),
        (
            {"every": 2, "cases": HELD_OUT, "best": True},
            {"save_steps": 3},
            "evaluates every 2 steps and .* save_steps is 3; fix: a multiple of 2",
        ),
        (
            {"every": 2, "cases": HELD_OUT, "best": True},
            {"save_strategy": "epoch"},
            'needs checkpoints by steps and .* is "epoch"; fix: remove',
        ),
        (
            {"every": 3, "cases": HELD_OUT, "best": True},
            {"save_steps": 6},
            "2 steps share what was played .* every 3; fix: every a multiple of 2",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(
    judge: dict[str, Any], grpo: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        grpo_config(recipe(judge=judge, grpo=grpo), tmp_path)
    assert "\n" not in str(caught.value)


def test_the_roles_of_a_consultation_are_not_judged_meanwhile() -> None:
    tables: dict[str, Any] = {"consultation": {"specialties": ["radiologist"]}, **judged()}
    with pytest.raises(UserError, match="evaluates a single policy, not a consultation's roles"):
        recipe(**tables)
