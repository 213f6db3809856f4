"""`medgym train`: a recipe, or one of the commands that stand beside it."""

import fcntl
import gc
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medgym.cli import app, main
from medgym.errors import UserError
from medgym.registry import load
from medgym.storage.run_folder import RunFolder
from medgym.train.consultation.ablation import _folder, ablate
from medgym.train.recipe.schema import load_recipe


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "medgym train merge RUN OUT"),
        (["--help"], "a registered recipe: consult-qwen3-vl-4b, consult-tiny,"),
        (["merge", "--help"], "Usage: medgym train merge"),
        (["audit", "--help"], "Usage: medgym train audit"),
        (["ablate", "--help"], "Usage: medgym train ablate"),
    ],
)
def test_each_command_explains_itself(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["train", *words])
    assert result.exit_code == 0
    text = " ".join(result.output.replace("│", " ").split())
    assert said in text
    assert "Example: medgym train" in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "Missing argument 'recipe'; fix: see medgym train --help"),
        (["--seed", "1", "teny"], "unknown recipe 'teny'; did you mean 'tiny'?"),
        (["recipe"], "unknown recipe 'recipe'"),
        (["tiny", "--max-steps", "0"], "'--max-steps': Input should be greater than or equal to 1"),
        (["consult-tiny", "--max-steps", "3"], "has no one number of steps for all its roles"),
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


def test_an_interrupted_training_is_resumed_and_not_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("medgym.train.run.stages.train", interrupted)
    words = ["train", "tiny", "--out", str(tmp_path / "a")]
    assert main(words) == 130
    how = f"add --resume: what is done is kept in {tmp_path / 'a'}"
    assert capsys.readouterr().err == f"medgym: interrupted; to resume, {how}\n"
    (tmp_path / "a" / "cold_start").mkdir()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'a'} holds an interrupted training; fix: --resume" in said
    assert main([*words, "--resume"]) == 130


def test_a_folder_whose_run_came_to_nothing_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*_: Any) -> None:
        raise UserError("the base cannot be made; fix: nothing")

    monkeypatch.setattr("medgym.train.run.stages.train", failed)
    words = ["train", "tiny", "--out", str(tmp_path / "a")]
    assert main(words) == 2
    (tmp_path / "a" / "stages.json").write_text('{"base": 1.0}')
    assert main([*words, "--seed", "3"]) == 2
    run = RunFolder.open(tmp_path / "a")
    assert run.manifest["seeds"] == {"run": 3}
    assert run.manifest["recipe"]["seed"] == 3
    assert not (tmp_path / "a" / "stages.json").exists()
    gc.collect()


def test_the_recipe_of_a_version_that_knew_fewer_keys_is_the_same_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = json.loads(load_recipe("tiny")[0].model_dump_json())
    del held["judge"], held["rollout"]["overlong"]
    RunFolder.create(tmp_path / "a", "", recipe=held)
    (tmp_path / "a" / "cold_start").mkdir()
    assert main(["train", "tiny", "--out", str(tmp_path / "a")]) == 2
    assert "holds an interrupted training; fix: --resume" in capsys.readouterr().err


def test_what_differs_from_the_recipe_of_a_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = json.loads(load_recipe("tiny")[0].model_dump_json())
    other["grpo"]["max_steps"] = 3
    RunFolder.create(tmp_path / "a", "", recipe=other)
    (tmp_path / "a" / "cold_start").mkdir()
    words = ["train", "tiny", "--out", str(tmp_path / "a")]
    for more in ([], ["--resume"]):
        assert main([*words, *more]) == 2
        said = capsys.readouterr().err
        assert "another recipe (grpo.max_steps: 3 there, 95 here); fix: " in said
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "wrong", "said"),
    [
        ('names = ["zoom"]', 'names = ["zom"]', "did you mean 'zoom'"),
        ('build = "tiny"', 'path = "./nowhere"', "no such model folder: ./nowhere"),
        ('build = "tiny"', 'path = "no-such-model"', "cannot load the model 'no-such-model'"),
        ("temperature = 1.0", 'policy = "vlm:{base}"', "did you mean 'vllm'"),
        ("scripted:demonstrator,good", "scriptd:demonstrator,good", "did you mean 'scripted'"),
        ("scripted:demonstrator,good", "scripted:demonstratr,good", "did you mean 'demonstrator'"),
        ("scripted:demonstrator,good", "scripted:demonstrator,god", "did you mean 'good'"),
        ("scripted:demonstrator,good=0.1,random=0.25,steps=7", "hf:./nowhere", "no such model"),
        ("[tools]", '[rubric]\nname = "outcom"\n[tools]', "did you mean 'outcome'"),
        ("kind:test[:200]", "kind:tset[:200]", "did you mean 'test'"),
        ("phantom,look=radiograph,question=kind:train[10", "fantom:train[10", "unknown source"),
        ("[tools]", '[curriculum]\ndifficulty = "scripted:orcle"\n[tools]', "mean 'oracle'"),
        ("save_steps = 25", 'report_to = ["wandbb"]', "[grpo] report_to: "),
        ("save_steps = 25", 'report_to = "dvclive"', "[grpo] report_to: "),
        ("save_steps = 25", 'report_to = "mlflow"', "fix: add --allow-report mlflow if you"),
        ("save_steps = 25", 'report_to = ["all"]', '[grpo] report_to = "all" would report to'),
        ("temperature = 1.0", 'ray_address = "10.0.0.1:6379"', "fix: add --allow-host 10.0.0.1 if"),
        ("temperature = 1.0", 'ray_address = "ray://a:10001"', "address of a Ray cluster; fix: "),
        (
            '"scripted:demonstrator,good=0.1,random=0.25,steps=7"',
            '"openai:https://gpu-1.example/v1#m"',
            "fix: add --allow-host gpu-1.example if you trust it",
        ),
        ("warmup_steps = 6", 'report_to = ["dvclive"]', "[sft] report_to: "),
        ("temperature = 1.0", 'policy = "openai:http://127.0.0.1:9/v1#m"', "127.0.0.1:9"),
        pytest.param(
            "temperature = 1.0", 'policy = "vllm:{base}?max_loras=2"',
            "vllm is not installed; fix: pip",
            marks=pytest.mark.skipif(find_spec("vllm") is not None, reason="it is installed"),
        ),
    ],
)  # fmt: skip
def test_what_is_unknown_or_missing_is_found_before_the_folder_is_made(
    line: str, wrong: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _is_found_before_the_folder_is_made("tiny", line, wrong, said, tmp_path, capsys)


@pytest.mark.parametrize(
    ("line", "wrong", "said"),
    [
        ("scripted:specialist,special", "scripted:specialst,special", "did you mean 'specialist'"),
        ('\ntools = ["zoom"]\n\n[marl]', '\ntools = ["zom"]\n\n[marl]', "did you mean 'zoom'"),
        ("\n\n[marl]", '\nrubric = "outcom"\n\n[marl]', "did you mean 'outcome'"),
        ("save_steps = 30", 'report_to = "dvclive"', "[grpo] report_to: "),
        ("temperature = 1.0", 'policy = "vlm:{base}"', "did you mean 'vllm'"),
    ],
)
def test_what_is_wrong_with_a_role_is_found_before_the_folder_is_made(
    line: str, wrong: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _is_found_before_the_folder_is_made("consult-tiny", line, wrong, said, tmp_path, capsys)


def _is_found_before_the_folder_is_made(
    recipe: str,
    line: str,
    wrong: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = load("recipes", recipe).read_text()
    assert line in text
    (tmp_path / "mine.toml").write_text(text.replace(line, wrong, 1))
    assert main(["train", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["../mine", "a/b", "..", "", "/tmp/mine", "a\\b", "linked"])
def test_a_recipe_does_not_choose_a_folder_outside_of_runs(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "elsewhere")
    text = load("recipes", "tiny").read_text()
    (tmp_path / "mine.toml").write_text(text.replace('"tiny"', json.dumps(name), 1))
    assert main(["train", "mine.toml"]) == 2
    assert "names no folder in runs/; fix: " in capsys.readouterr().err
    assert not any((tmp_path / "elsewhere").iterdir())


def test_one_process_at_a_time_trains_in_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    words = ["train", "tiny", "--out", str(folder)]

    def training(*_: Any) -> None:
        with (folder / "recipe.toml").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise KeyboardInterrupt

    monkeypatch.setattr("medgym.train.run.stages.train", training)
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
    for name, said in (
        ("a", "exists and is not empty"),
        ("b", "holds a finished training; fix: -"),
    ):
        assert main(["train", "tiny", "--out", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err


def test_an_ablation_of_another_seed_is_not_continued(tmp_path: Path) -> None:
    recipe, _ = load_recipe("consult-tiny")
    asked = json.loads(recipe.model_dump_json(exclude_none=True))
    RunFolder.create(tmp_path / "whole", "", recipe=asked)
    with pytest.raises(UserError, match="whole holds a run of another recipe or seed"):
        ablate(recipe.model_copy(update={"seed": 1}), tmp_path)


def test_a_variant_that_was_interrupted_before_it_shared_shares_when_it_resumes(
    tmp_path: Path,
) -> None:
    recipe, _ = load_recipe("consult-tiny")
    whole, folder = tmp_path / "whole", tmp_path / "variant"
    (whole / "adapters" / "triage" / "2").mkdir(parents=True)
    (whole / "stages.json").write_text('{"base": 1.0, "attending": 1.0}')
    asked = json.loads(recipe.model_dump_json(exclude_none=True))
    RunFolder.create(folder, "", recipe=asked)
    _folder(recipe, folder, whole)
    assert (folder / "adapters" / "triage" / "2").is_dir()
    assert json.loads((folder / "stages.json").read_text()) == {"base": 1.0}


def test_one_process_at_a_time_makes_a_run_of_an_ablation(tmp_path: Path) -> None:
    recipe, _ = load_recipe("consult-tiny")
    RunFolder.create(tmp_path / "whole", "")
    with (tmp_path / "whole" / "recipe.toml").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(UserError, match="another process is writing"):
            ablate(recipe, tmp_path)
