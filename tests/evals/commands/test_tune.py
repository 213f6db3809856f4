import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from medgym.cli import main
from medgym.evals.commands import eval as eval_command
from medgym.evals.commands import tune
from medgym.evals.tuning import optimisers
from medgym.evals.tuning.trials import Trials

from ..tuning.test_dspy import Adviser
from ..tuning.test_search import LETTER, Obedient

Capture = pytest.CaptureFixture[str]
ASKED = [
    "tune", "phantom,look=ct,question=kind:validation[:18]", "--policy", "obedient",
    "--candidates", "6", "--budget", "80", "--seed", "1",
]  # fmt: skip


@pytest.fixture
def obedient(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (tune, eval_command):
        monkeypatch.setattr(command, "named", lambda spec, backend: Obedient())


@pytest.mark.usefixtures("obedient", "no_progress")
def test_the_prompt_is_a_file_for_an_evaluation(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "tuned"
    pool = ["--examples", "phantom,look=ct,question=kind:train[:10]"]
    assert main([*ASKED, *pool, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = json.loads((out / "tuned.json").read_text())
    assert (told["chosen"], told["prompt"]) == (written["chosen"], written["prompt"])
    assert LETTER in told["prompt"]
    assert told["episodes"] <= 80
    assert told["test"] == "phantom,look=ct,question=kind:test"
    assert told["gain"]["interval"]["value"] > 0
    assert [row["number"] for row in told["tried"]] == list(range(len(told["tried"])))
    assert any("optimistic" in note for note in told["notes"])
    assert any("their images are not shown" in note for note in told["notes"])
    asked = ["eval", "phantom,look=ct,question=kind:test[:60]", "--policy", "obedient", "--out"]
    assert main([*asked, str(tmp_path / "plain")]) == 0
    assert main([*asked, str(tmp_path / "own"), "--prompt", told["file"]]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "plain"), str(tmp_path / "own"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"][str(tmp_path / "own")]
    assert row["difference"]["outcome"] == "win"


@pytest.mark.usefixtures("obedient", "no_progress")
def test_an_interrupted_search_resumes_to_the_same_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert main([*ASKED, "--out", str(tmp_path / "whole")]) == 0
    whole = json.loads((tmp_path / "whole/tuned.json").read_text())
    play, asked, acted = Trials.play, [0], [0]

    def stops(self: Trials, *words: Any) -> None:
        asked[0] += 1
        if asked[0] == 4:
            raise KeyboardInterrupt
        play(self, *words)

    monkeypatch.setattr(Trials, "play", stops)
    assert main([*ASKED, "--out", str(tmp_path / "cut")]) != 0
    act = Obedient.act

    async def counted(self: Obedient, *words: Any) -> Any:
        acted[0] += 1
        return await act(self, *words)

    monkeypatch.setattr(Obedient, "act", counted)
    assert main([*ASKED, "--out", str(tmp_path / "cut")]) == 0
    assert json.loads((tmp_path / "cut/tuned.json").read_text()) == whole
    held = 3 * min(row["cases"] for row in whole["tried"])
    assert acted[0] == whole["episodes"] - held


@pytest.mark.usefixtures("no_progress")
def test_where_no_prompt_helps_that_is_said(tmp_path: Path, capsys: Capture) -> None:
    asked = [*ASKED[:2], "--policy", "scripted:prior", "--candidates", "3", "--limit", "9"]
    assert main([*asked, "--out", str(tmp_path / "tuned")]) == 0
    out = capsys.readouterr().out
    assert "no prompt is better than none; evaluate without --prompt\n" in out
    assert not (tmp_path / "tuned/prompt.txt").exists()


def test_test_cases_are_refused_before_anything_is_written(tmp_path: Path, capsys: Capture) -> None:
    search = ["phantom:validation[:9]", "--examples", "phantom:test[:9]"]
    for words in (["phantom:test[:9]"], ["phantom:test[:9]", "--test", "phantom:test[9:]"], search):
        asked = ["tune", *words, "--policy", "scripted:prior"]
        assert main([*asked, "--out", str(tmp_path / "tuned")]) == 2
        assert "are test cases" in capsys.readouterr().err
    assert not (tmp_path / "tuned").exists()


def test_an_optimiser_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "dspy", None)
    out = ["--out", str(tmp_path / "tuned")]
    pool = ["--examples", "phantom:train[:9]"]
    for words, said in (
        (["--optimiser", "dspy:simba", *pool], "dspy is not installed; fix: pip install "),
        (["--optimiser", "dspy:simba"], "dspy:simba learns from training cases; fix: "),
        (["--optimiser", "dspy:simbad", *pool], "unknown optimiser 'dspy:simbad'; did you mean"),
        (["--writer", "openai:x"], "only an optimiser of dspy has prompts written; fix: "),
    ):
        assert main([*ASKED, *out, *words]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "tuned").exists()


def test_what_an_optimiser_leaves_of_the_budget_must_do_for_the_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "dspy", ModuleType("dspy"))  # before it is used
    words = ["--optimiser", "dspy:simba", "--examples", "phantom:train[:9]", "--budget", "6"]
    asked = ["tune", "phantom:validation[:3]", "--policy", "scripted:prior", *words]
    assert main([*asked, "--out", str(tmp_path / "tuned")]) == 2
    assert "take 6 episodes, and the budget leaves 3; fix: " in capsys.readouterr().err
    assert not (tmp_path / "tuned").exists()


@pytest.mark.usefixtures("obedient", "no_progress")
def test_dspy_s_prompts_compete_on_the_validation_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    pytest.importorskip("dspy")
    monkeypatch.setattr(optimisers, "load_policy", lambda spec: Adviser())
    out = tmp_path / "tuned"
    words = [
        "--optimiser", "dspy:simba", "--writer", "adviser", "--budget", "240",
        "--examples", "phantom,look=ct,question=kind:train[:10]", "--json",
    ]  # fmt: skip
    assert main([*ASKED, "--out", str(out), *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert LETTER in told["prompt"]
    assert 0 < told["training_episodes"] <= 120
    assert told["episodes"] <= 240
    assert told["gain"]["outcome"] == "win"
