"""A whole run at its smallest: every stage, its files, and resuming after a kill."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from medgym.cli import app
from medgym.errors import UserError
from medgym.runs import RunFolder
from medgym.store import TrajectoryStore
from medgym.train.grpo import LookingTrainer
from medgym.train.pipeline import Place

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


def test_results_hold_every_policy_with_its_interval(undisturbed: Path) -> None:
    results = json.loads((undisturbed / "results.json").read_text())
    assert results["policies"].keys() == POLICIES
    for figures in results["policies"].values():
        assert 0 <= figures["low"] <= figures["accuracy"] <= figures["high"] <= 1
        assert figures["n"] == 4
        assert 0 <= figures["greedy"] <= 1
    assert results["policies"]["oracle"]["accuracy"] == 1
    assert results["policies"]["no_tools"]["looked"] == 0
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


def test_a_killed_run_resumes_to_the_same_end(
    recipe: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "killed"
    generate = LookingTrainer._generate

    def killed(self: LookingTrainer, prompts: list[Any]) -> Any:
        if self.state.global_step == 3:  # after the checkpoint of step 2
            raise KeyboardInterrupt
        return generate(self, prompts)

    words = ["train", str(recipe), "--out", str(folder)]
    with monkeypatch.context() as patch:
        patch.setattr(LookingTrainer, "_generate", killed)
        assert CliRunner().invoke(app, words).exit_code != 0
    assert Place(folder).stages().keys() == {"base", "cold_start"}
    result = CliRunner().invoke(app, [*words, "--resume"])
    assert result.exit_code == 0, result.output

    def order(run: Path) -> list[tuple[str, int, int]]:
        played = TrajectoryStore(run / "trajectories" / "grpo")
        return [(t.case_id, t.seed, t.member) for t in played]

    assert order(folder) == order(undisturbed)
    last = "adapters/policy/4/adapter_model.safetensors"
    mine, theirs = load_file(folder / last), load_file(undisturbed / last)
    assert all((mine[name] == theirs[name]).all() for name in theirs)
    assert [json.loads(x)["step"] for x in (folder / "metrics.jsonl").open()] == [1, 2, 3, 4]
