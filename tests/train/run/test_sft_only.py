"""A recipe without `[grpo]` trains by SFT alone, and says what it does not do."""

import json
import re
from pathlib import Path

import pytest

from medgym.cli import main
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore

RECIPE = """
name = "sft"
[model]
path = "{path}"
[cases]
train = "phantom,look=radiograph,question=kind:train[:16]"
test = "phantom,look=radiograph,question=kind:test[:4]"
[rollout]
max_turns = 2
max_tokens = 6
[demonstrations]
policy = "scripted:demonstrator,good=0.5,random=0.2,steps=7"
cases = "phantom,look=radiograph,question=kind:train[20:28]"
keep = "all"
[sft]
num_train_epochs = 1
per_device_train_batch_size = 4
"""


@pytest.fixture
def recipe(tiny_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "sft.toml"
    path.write_text(RECIPE.format(path=tiny_folder))
    return path


def test_without_grpo_a_run_ends_with_the_model_after_its_cold_start(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main(["train", str(recipe), "--out", str(folder)]) == 0
    said = capsys.readouterr()
    assert "cold start: 2 steps of 4 samples, on 8 of 8 demonstrations\n" in said.err
    table = [re.split(r" {2,}", line)[0] for line in said.out.splitlines()]
    assert table[1:6] == [
        "trained, tools taken away",
        "prior (never looks)",
        "base model",
        "cold start",
        "oracle",
    ]
    assert table[-1].startswith("4 held-out cases each;")
    results = json.loads((folder / "results.json").read_text())
    assert list(results["policies"]) == ["no_tools", "prior", "base", "cold_start", "oracle"]
    assert results["seconds"].keys() == {"base", "cold_start", "judge", "total"}
    assert RunFolder.open(folder).manifest["status"] == "done"
    assert (folder / "report.png").stat().st_size > 1000
    assert not (folder / "adapters").exists()
    played = {name: TrajectoryStore(folder / "judged" / name) for name in ("base", "cold_start")}
    specs = {name: {trajectory.policy for trajectory in each} for name, each in played.items()}
    assert specs["cold_start"] == {f"hf:{folder / 'cold_start'}"}
    assert specs["base"] != specs["cold_start"]
    assert main(["train", "merge", str(folder), str(tmp_path / "merged")]) == 2
    error = capsys.readouterr().err
    assert f"was trained without an adapter; fix: use {folder / 'cold_start'}" in error


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (r"\[demonstrations\].*", "", "sft trains nothing: it has neither [demonstrations] nor"),
        ("num_train_epochs = 1", "", "[sft] does not say how long it trains; fix: set max_steps"),
        ("num_train_epochs = 1", "max_steps = 0", "[sft]: max_steps is 0; fix: remove [demonst"),
        ("$", "[lora]\nr = 2\n", "[lora] has no effect without [grpo] or [dpo] or [kto]; fix: "),
        (
            "$",
            "[sight]\nevery = 0\n",
            "[sight] has no effect without [grpo] or [dpo] or [kto]; fix: add",
        ),
        ("$", "[marl]\nrounds = 2\n", "[marl] has no effect without [consultation]; fix: add"),
        (r"\[sft\].*", "[grpo]\n", "sft: [grpo] is empty; fix: set max_steps, or remove it"),
        (
            r"\[demonstrations\].*",
            "[grpo]\nmax_steps = 0\n",
            "[grpo]: max_steps is 0; fix: remove [grpo]",
        ),
        (r"\[sft\].*", "[grpo]\nbeta = 0.0\n", "[sft] does not say how long it trains"),
        (
            r"\[demonstrations\].*",
            "[grpo]\nbeta = 0.0\n",
            "[grpo] does not say how long it trains; fix: set max_steps or num_train_epochs",
        ),
        (r"\[demonstrations\].*", "[grpo]\nmax_steps = 1\n[sft]\nmax_steps = 1\n", "[sft] has no"),
        ("max_tokens = 6", 'policy = "vllm:{base}"', "[rollout] policy has no effect without"),
    ],
)
def test_what_a_recipe_does_not_say_or_would_not_do_is_refused(
    before: str,
    after: str,
    said: str,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = recipe.read_text().rstrip() + "\n"
    changed = re.sub(before if before != "$" else r"\Z", after, text, count=1, flags=re.DOTALL)
    assert changed != text
    recipe.write_text(changed)
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
