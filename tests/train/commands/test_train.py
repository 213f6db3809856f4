"""`medgym train`: a recipe, or one of the commands that stand beside it."""

import fcntl
import gc
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medgym.cli import app, main
from medgym.errors import UserError
from medgym.storage.run_folder import RunFolder
from medgym.train.consultation.ablation import ablate
from medgym.train.recipe.schema import load_recipe


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "medgym train merge RUN OUT"),
        (["merge", "--help"], "Usage: medgym train merge"),
        (["audit", "--help"], "Usage: medgym train audit"),
        (["ablate", "--help"], "Usage: medgym train ablate"),
    ],
)
def test_each_command_explains_itself(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["train", *words])
    assert result.exit_code == 0
    assert said in " ".join(result.output.split())
    assert "Example: medgym train" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "Missing argument 'recipe'; fix: see medgym train --help"),
        (["--seed", "1", "teny"], "unknown recipe 'teny'; did you mean 'tiny'?"),
        (["recipe"], "unknown recipe 'recipe'"),
        (["tiny", "--sead", "1"], "No such option: --sead"),
        (["tiny", "--seed", "-1"], "the seed is -1; fix: give one of 0 or more"),
        (["merge", "nowhere", "out"], "no adapter in nowhere"),
        (["no/such.toml"], "no such recipe: no/such.toml; fix: check the path, or use one of "),
    ],
)
def test_what_is_asked_wrongly_is_one_line(
    words: list[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_training_that_was_broken_off_is_gone_on_with_and_not_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("medgym.train.run.stages.run", interrupted)
    words = ["train", "tiny", "--out", str(tmp_path / "a")]
    assert main(words) == 130
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"what is done is kept in {tmp_path / 'a'}; --resume goes on with it"
    assert last == "medgym: interrupted"
    assert main(words) == 2
    assert "was broken off; fix: go on with it by --resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 130


def test_one_process_at_a_time_trains_in_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    words = ["train", "tiny", "--out", str(folder)]

    def training(*_: Any) -> None:
        with (folder / "recipe.toml").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise KeyboardInterrupt

    monkeypatch.setattr("medgym.train.run.stages.run", training)
    assert main(words) == 130
    assert main([*words, "--resume"]) == 130
    gc.collect()  # the interruption's traceback, which holds the folder
    capsys.readouterr()
    with (folder / "recipe.toml").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for again in (words, [*words, "--resume"]):
            assert main(again) == 2
            assert "another process is writing" in capsys.readouterr().err


def test_a_folder_of_something_else_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder.create(tmp_path / "a", {"command": "rollout"})
    done = json.loads(load_recipe("tiny")[0].model_dump_json())
    RunFolder.create(tmp_path / "b", "", recipe=done).finish()
    for name in ("a", "b"):
        assert main(["train", "tiny", "--out", str(tmp_path / name)]) == 2
        assert "exists and is not empty" in capsys.readouterr().err


def test_one_process_at_a_time_makes_a_run_of_an_ablation(tmp_path: Path) -> None:
    recipe, _ = load_recipe("consult-tiny")
    RunFolder.create(tmp_path / "whole", "")
    with (tmp_path / "whole" / "recipe.toml").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(UserError, match="another process is writing"):
            ablate(recipe, tmp_path)
