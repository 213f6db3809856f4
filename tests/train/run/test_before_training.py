"""What can be known of a recipe before it trains is one line, and no folder is made."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medgym.cli import app, main
from medgym.registry import load


def recipe(table: str, line: str) -> str:
    """The recipe tiny, with a line in place of those of its keys."""
    text = load("recipes", "tiny").read_text("utf-8")
    head, mark, rest = text.partition(f"[{table}]\n")
    if not mark:
        return f"{text}\n[{table}]\n{line}\n"
    body, following, tail = rest.partition("\n[")
    keys = {each.partition("=")[0].strip() for each in line.splitlines()}
    kept = [each for each in body.splitlines() if each.partition("=")[0].strip() not in keys]
    return "\n".join([head + mark + line, *kept]) + following + tail


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ("grpo", "report_to = 3", r"\[grpo\] report_to: 3 is no name"),
        ("grpo", "num_iterations = 0", r"grpo\.num_iterations: 0; fix: a number of 1 or more"),
        ("grpo", "num_generations = 0", r"grpo\.num_generations: 0; fix: a number of 1"),
        ("sft", "per_device_train_batch_size = 0", r"sft\.per_device_train_batch_size: 0"),
        ("sft", "save_steps = 0", r"sft\.save_steps: 0; fix: a number above 0"),
        ("grpo", "learning_rate = nan", r"grpo\.learning_rate: nan is no finite number"),
        ("grpo", "beta = -1", r"grpo\.beta: -1; fix: a number of 0 or more"),
        ("grpo", 'bf16 = "yes"', r"grpo\.bf16: 'yes' is neither true nor false"),
        ("grpo", 'loss_type = "nope"', r'loss_type = "nope" is refused: TRL takes no other'),
        ("grpo", 'scale_rewards = "nope"', r'scale_rewards = "nope" is refused: TRL takes no'),
        ("sft", 'loss_type = "nope"', r'loss_type = "nope" is refused: TRL takes no other'),
        (
            "sft",
            'eval_strategy = "steps"',
            r"eval_strategy is refused: the cold start is judged only at the end",
        ),
        ("sft", "lora = 3", r"sft\.lora is no table; fix: write \[sft\.lora\]"),
        ("grpo", "adam_beta1 = 2", r"\[grpo\] asks for an optimiser that cannot be had: .*beta"),
        ("sft", "lr_scheduler_kwargs = { no = 1 }", r"\[sft\] asks for .* 'no'; fix: correct"),
        ("grpo", "max_steps = 3\nnum_train_epochs = 2", r"num_train_epochs does nothing beside"),
        ("lora", "target_modules = 'zzz'", r"\[lora\] target_modules names no layer"),
        ("lora", "target_modules = '('", r"\[lora\] target_modules: .*subpattern"),
        ("model", 'attn_implementation = "nope"', r"the model 'tiny' cannot be loaded with attn_"),
        ("rollout", "chat_template_kwargs = { nope = 1 }", r"template has no option 'nope'"),
        ("rollout", 'policy = "hf:{base}?dtype=bfloat17"', r"dtype='bfloat17' is not known"),
        ("rollout", 'policy = "hf:{bse}"', r"no such model folder: \{bse\}"),
        ("judge", "", r"\[judge\] is empty; fix: set a key of it, or remove it"),
        ("curriculum", "", r"\[curriculum\] is empty; fix: set a key of it, or remove it"),
        ("cases", 'train = ["a", "b"]', r"cases\.train is a list of texts; fix: write one \[\[ca"),
    ],
)
def test_it_is_refused_in_one_line(
    table: str,
    line: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text(recipe(table, line), "utf-8")
    assert main(["train", "my.toml", "--out", "run"]) == 2
    line = capsys.readouterr().err
    assert re.search(said, line)
    assert "; fix: " in line
    assert line.count("\n") == 1
    assert os.listdir() == ["my.toml"]


def test_an_empty_lora_does_not_pass_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = load("recipes", "tiny").read_text("utf-8")
    head, _, rest = text.partition("[lora]\n")
    Path("my.toml").write_text(f"{head}[lora]\n\n[grpo]\n{rest.partition('[grpo]')[2]}", "utf-8")
    assert main(["train", "my.toml", "--out", "run"]) == 2
    assert "[lora] is empty, so the whole model would learn; fix: " in capsys.readouterr().err


def test_max_steps_may_end_a_recipe_of_epochs_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medgym.train.run.stages.train", trained)
    text = recipe("grpo", "num_train_epochs = 1").replace("max_steps = 95\n", "")
    Path("my.toml").write_text(text, "utf-8")
    assert main(["train", "my.toml", "--max-steps", "3", "--out", "run"]) == 130
    assert "does nothing" not in capsys.readouterr().err


def test_the_help_says_whose_steps() -> None:
    said = CliRunner().invoke(app, ["train", "--help"]).output.replace("│", " ")
    assert "of GRPO in the recipe, or else of DPO." in " ".join(said.split())
