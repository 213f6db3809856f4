"""A whole run at its smallest: every stage, its files, resuming, and what may go wrong."""

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from medgym.cases import open_cases, write_cases
from medgym.cli import app, main
from medgym.errors import RunError, UserError
from medgym.rubric import Rubric, Term
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.data.records import Records
from medgym.train.grpo.monitor import EPISODES
from medgym.train.grpo.trainer import LookingTrainer
from medgym.train.recipe import rules as recipe_rules
from medgym.train.run import report
from medgym.train.sft import stage as sft_stage
from tests.two_processes import begun_with_libraries

pytestmark = pytest.mark.slow

RECIPE = """
name = "small"
[model]
path = "{path}"
[cases]
train = "phantom,look=radiograph,question=kind:train[:16]"
test = "phantom,look=radiograph,question=kind:test[:4]"
order = "balanced"
[rollout]
max_turns = 2
max_tokens = 6
[demonstrations]
policy = "scripted:demonstrator,good=0.5,random=0.2,steps=7"
cases = "phantom,look=radiograph,question=kind:train[20:28]"
keep = "all"
[sft]
max_steps = 2
per_device_train_batch_size = 4
[lora]
r = 2
lora_alpha = 4
target_modules = ["q_proj"]
[grpo]
max_steps = 4
per_device_train_batch_size = 4
num_generations = 2
beta = 0.0
learning_rate = 1e-3
save_steps = 2
"""

POLICIES = {"no_tools", "prior", "cold_start", "grpo", "oracle"}


@pytest.fixture(scope="module")
def recipe(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "small.toml"
    path.write_text(RECIPE.format(path=tiny_folder))
    return path


@pytest.fixture(scope="module")
def undisturbed(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    result = CliRunner().invoke(app, ["train", str(recipe), "--out", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["recipe"] == "small"
    return folder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose reports are like another one's leave them out: drawing takes a third of a run."""
    monkeypatch.setattr(report, "draw_report", lambda run: None)


def test_results_hold_every_policy_with_its_interval(undisturbed: Path) -> None:
    results = json.loads((undisturbed / "results.json").read_text())
    assert results["policies"].keys() == POLICIES
    for figures in results["policies"].values():
        for judgement in (figures["sampled"], figures["greedy"]):
            rate = judgement["accuracy"]
            assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
            assert rate["n"] == 4
    assert results["policies"]["oracle"]["sampled"]["accuracy"]["value"] == 1
    assert results["policies"]["no_tools"]["sampled"]["looked"] == 0
    asked = {"command": "train", "recipe": "small", "seed": 0, "tools": ["zoom"], "judge": "vqa"}
    assert asked.items() <= results.items()
    assert results["seconds"].keys() == {"base", "cold_start", "grpo", "judge", "total"}


def test_the_run_leaves_what_the_docs_name(undisturbed: Path) -> None:
    from PIL import Image

    assert Image.open(undisturbed / "report.png").size[0] > 500
    steps = [json.loads(x)["step"] for x in (undisturbed / "metrics.jsonl").open()]
    assert steps == [1, 2, 3, 4]
    assert list((undisturbed / "tensorboard").glob("events*"))
    assert RunFolder.open(undisturbed).manifest["status"] == "done"
    played = list(TrajectoryStore(undisturbed / "trajectories" / "grpo"))
    assert len(played) == 16
    played += TrajectoryStore(undisturbed / "judged" / "grpo")
    assert len(played) == 20
    versions = {
        name: {t.version for t in TrajectoryStore(undisturbed / "judged" / name)}
        for name in ("no_tools", "cold_start", "grpo")
    }
    assert versions == {"no_tools": {"policy-4"}, "cold_start": {""}, "grpo": {"policy-4"}}
    shown = {use.sha256 for t in played for node in t.nodes for use in node.images}
    store = RunFolder.open(undisturbed).images
    assert all(store.get(sha256) for sha256 in shown)


def test_the_adapter_loads_with_plain_peft(undisturbed: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(undisturbed / "cold_start")
    adapted = PeftModel.from_pretrained(model, undisturbed / "adapters" / "policy" / "4")
    assert any("lora_B" in name for name, _ in adapted.named_parameters())


def test_a_folder_that_exists_is_refused(recipe: Path, undisturbed: Path) -> None:
    before = (undisturbed / "results.json").read_bytes()
    result = CliRunner().invoke(app, ["train", str(recipe), "--out", str(undisturbed)])
    assert isinstance(result.exception, UserError)
    assert (undisturbed / "results.json").read_bytes() == before


def test_resuming_another_recipe_is_refused(recipe: Path, undisturbed: Path) -> None:
    words = ["train", str(recipe), "--seed", "5", "--out", str(undisturbed), "--resume"]
    assert isinstance(CliRunner().invoke(app, words).exception, UserError)


@contextmanager
def broken_off(monkeypatch: pytest.MonkeyPatch, what: Any = KeyboardInterrupt) -> Iterator[None]:
    """Break GRPO off after the checkpoint of step 2, in step 4."""
    generate = LookingTrainer._generate

    def killed(self: LookingTrainer, prompts: list[Any]) -> Any:
        if self.state.global_step == 3:
            raise what
        return generate(self, prompts)

    with monkeypatch.context() as patch:
        patch.setattr(LookingTrainer, "_generate", killed)
        yield


def same_end(mine: Path, theirs: Path) -> None:
    """Two runs played the same in the same order, and learned the same."""

    def played(run: Path) -> list[tuple[str, int, int]]:
        return [(t.case_id, t.seed, t.member) for t in TrajectoryStore(run / "trajectories/grpo")]

    assert played(mine) == played(theirs)
    last = "adapters/policy/4/adapter_model.safetensors"
    ours, others = load_file(mine / last), load_file(theirs / last)
    assert all((ours[name] == others[name]).all() for name in others)
    rows = [json.loads(line) for line in (mine / "metrics.jsonl").open()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]


def train_and_be_killed(words: list[str]) -> None:
    """What the command does in a process that is killed after the checkpoint of step 2."""
    generate = LookingTrainer._generate

    def killed(self: LookingTrainer, prompts: list[Any]) -> Any:
        if self.state.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return generate(self, prompts)

    LookingTrainer._generate = killed  # type: ignore[method-assign]
    sys.exit(main(words))


def test_a_run_that_was_killed_resumes_to_the_same_end(
    recipe: Path, undisturbed: Path, tmp_path: Path, undrawn: None
) -> None:
    folder = tmp_path / "killed"
    words = ["train", str(recipe), "--out", str(folder)]
    process = begun_with_libraries().Process(target=train_and_be_killed, args=(words,))
    process.start()
    process.join(600)
    assert process.exitcode == -signal.SIGKILL
    assert Place(folder).stages().keys() == {"base", "cold_start"}
    result = CliRunner().invoke(app, [*words, "--resume"])
    assert result.exit_code == 0, result.output
    same_end(folder, undisturbed)


def test_what_is_judged_again_replaces_what_was_judged(
    recipe: Path, undisturbed: Path, tmp_path: Path, undrawn: None
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(undisturbed, folder)
    stages = Place(folder).stages()
    del stages["judge"]
    (folder / "stages.json").write_text(json.dumps(stages))
    result = CliRunner().invoke(app, ["train", str(recipe), "--out", str(folder), "--resume"])
    assert result.exit_code == 0, result.output
    count = len(TrajectoryStore(undisturbed / "judged" / "grpo"))
    assert len(TrajectoryStore(folder / "judged" / "grpo")) == count > 0


def test_a_finished_run_goes_on_to_more_steps(
    recipe: Path, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "longer"
    shutil.copytree(undisturbed, folder)
    words = ["train", str(recipe), "--out", str(folder), "--resume"]
    before = (folder / "adapters/policy/4/adapter_model.safetensors").read_bytes()
    result = CliRunner().invoke(app, [*words, "--max-steps", "3"])
    assert isinstance(result.exception, UserError)
    said = "has done 4 steps and --max-steps is 3; fix: ask for 4 or more"
    assert said in str(result.exception)
    assert (folder / "results.json").exists()

    result = CliRunner().invoke(app, [*words, "--max-steps", "6"])
    assert result.exit_code == 0, result.output
    assert (
        "the last step is now 6, not 4: the learning rate follows its schedule (linear) to the new "
        "end, and continues after step 4 with 0.000333 instead of 0"
    ) in result.stderr
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    rates = [row["learning_rate"] for row in rows[4:]]
    assert rates == pytest.approx([1e-3 / 3, 1e-3 / 6])
    assert (folder / "adapters/policy/4/adapter_model.safetensors").read_bytes() == before
    assert Place(folder).trained[1] == folder / "adapters/policy/6"
    versions = {t.version for t in TrajectoryStore(folder / "judged" / "grpo")}
    assert versions == {"policy-6"}
    assert len(TrajectoryStore(folder / "trajectories" / "grpo")) == 24
    manifest = RunFolder.open(folder).manifest
    assert manifest["status"] == "done"
    assert manifest["recipe"]["grpo"]["max_steps"] == 6
    (entry,) = manifest["history"]
    assert entry["changed"] == {"grpo.max_steps": [4, 6]}
    assert (entry["at_step"], entry["results"]) == (4, "results-4.json")
    earlier, now = (
        json.loads((folder / n).read_text()) for n in ("results-4.json", "results.json")
    )
    assert earlier == json.loads((undisturbed / "results.json").read_text())
    assert now["policies"].keys() == POLICIES
    assert (folder / "report-4.png").exists()
    assert (folder / "report.png").exists()

    result = CliRunner().invoke(app, words)
    assert "grpo.max_steps: 6 there, 4 here" in str(result.exception)
    result = CliRunner().invoke(app, [*words, "--max-steps", "6"])
    assert result.exit_code == 0, "the same command once more changes nothing"
    assert len(RunFolder.open(folder).manifest["history"]) == 1


CURRICULUM = """
[curriculum]
difficulty = "scripted:prior"
samples = 2
share = 0.6
skip_flat = true
most = 2
[judge]
every = 2
cases = "phantom,look=radiograph,question=kind:validation[:2]"
"""


def test_a_curriculum_is_kept_when_a_run_resumes(
    recipe: Path, tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ordered.toml"
    path.write_text(recipe.read_text() + CURRICULUM)
    words = ["train", str(path), "--out"]
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    result = CliRunner().invoke(app, [*words, str(whole), "--json"])
    assert result.exit_code == 0, result.output
    assert "curriculum" in json.loads(result.stdout)["seconds"]
    rows = [json.loads(line) for line in (whole / "curriculum.jsonl").open()]
    rates = [row["success"] for row in rows]
    assert len(rows) == 7  # of 12 cases: 3 rounds of 4 answers
    assert rates == sorted(rates, reverse=True)
    left_out = Records(whole).rows()
    assert {row["stage"] for row in left_out} == {"curriculum", "grpo"}
    with broken_off(monkeypatch):
        CliRunner().invoke(app, [*words, str(folder)])
    result = CliRunner().invoke(app, [*words, str(folder), "--resume"])
    assert result.exit_code == 0, result.output
    same_end(folder, whole)
    assert Records(folder).rows() == left_out
    for run in (folder, whole):
        parts = TrajectoryStore(run / "trajectories" / "judge").parts()
        assert [part.name for part in parts] == ["part-00002.parquet", "part-00004.parquet"]
        found = [json.loads(line) for line in (run / "metrics.jsonl").open()]
        assert [row["eval_cases"] for row in found if "eval_cases" in row] == [2, 2]


def test_a_disk_that_fills_leaves_the_last_checkpoint_whole(
    recipe: Path,
    undisturbed: Path,
    tmp_path: Path,
    undrawn: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a limit on the size of files, which writers see as they see a full disk."""
    folder = tmp_path / "full"
    words = ["train", str(recipe), "--out", str(folder)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    generate = LookingTrainer._generate

    def filling(self: LookingTrainer, prompts: list[Any]) -> Any:
        if self.state.global_step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
        return generate(self, prompts)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(LookingTrainer, "_generate", filling)
            result = CliRunner().invoke(app, words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(result.exception, RunError)
    assert "make room, then resume from the last checkpoint with --resume" in str(result.exception)
    assert "\n" not in str(result.exception)
    assert [path.name for path in Place(folder).checkpoints.glob("c*")] == ["checkpoint-2"]
    result = CliRunner().invoke(app, [*words, "--resume"])
    assert result.exit_code == 0, result.output
    same_end(folder, undisturbed)


def test_a_disk_that_fills_in_the_cold_start_leaves_no_half_model(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "full"
    words = ["train", str(recipe), "--out", str(folder)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    save = sft_stage.save_whole_model

    def filling(*given: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        save(*given)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(sft_stage, "save_whole_model", filling)
            result = CliRunner().invoke(app, words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(result.exception, RunError)
    assert "the disk is full; fix: make room" in str(result.exception)
    assert not (folder / "cold_start").exists()
    assert Place(folder).stages().keys() == {"base"}


def test_a_term_that_raises_stops_the_run_and_names_itself(
    recipe: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "broken"
    words = ["train", str(recipe), "--out", str(folder)]
    steps = {"done": 0}

    def judge(case: Any, episode: Any) -> float:
        steps["done"] += 1
        # The demonstrations, three steps of four episodes, and what the first one watches.
        if steps["done"] > 8 + 12 + EPISODES:
            raise ZeroDivisionError("no such luck")
        return 1.0

    with monkeypatch.context() as patch:
        patch.setattr(
            recipe_rules, "rubric_of", lambda _: Rubric("mine", (Term("odd", 1.0, judge),))
        )
        result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, RunError)
    said = str(result.exception)
    assert "the term 'odd' of the rubric 'mine' failed on phantom/train/" in said
    assert "ZeroDivisionError at test_stages.py:" in said
    assert said.endswith("; fix: correct the term")
    assert "\n" not in said
    assert [path.name for path in Place(folder).checkpoints.glob("c*")] == ["checkpoint-2"]


def test_cases_without_gold_are_refused_before_anything_is_written(
    recipe: Path, tmp_path: Path
) -> None:
    cases = open_cases("phantom,look=radiograph,question=kind:train[:4]")
    bare = [case.model_copy(update={"answer": "", "regions": ()}) for case in cases]
    write_cases(bare, tmp_path / "bare.jsonl")
    path = tmp_path / "bare.toml"
    text = recipe.read_text()
    train = 'train = "phantom,look=radiograph,question=kind:train[:16]"'
    assert train in text
    path.write_text(text.replace(train, f'train = "{tmp_path / "bare.jsonl"}"'))
    result = CliRunner().invoke(app, ["train", str(path), "--out", str(tmp_path / "run")])
    assert isinstance(result.exception, UserError)
    assert "bare.jsonl) can be right: the answer is blank; fix: " in str(result.exception)
    assert not (tmp_path / "run").exists()
