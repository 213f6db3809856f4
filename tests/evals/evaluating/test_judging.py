"""A benchmark that cannot be judged costs its suite only itself."""

import errno
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medgym.agents.scripted.policy import Scripted
from medgym.cli import main
from medgym.failures import Failure
from medgym.storage.results import read_results
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite

Capture = pytest.CaptureFixture[str]
Break = Callable[[str, Exception], None]
THREE = Suite(
    "three",
    {kind: f"phantom,look=ct,question={kind}:test[:2]" for kind in ("kind", "side", "size")},
)
WORDS = ["eval", "phantom", "--policy", "scripted:oracle"]


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Break:
    """The suite of three in the place of `phantom`; what it returns breaks the policy wherever some
    words stand."""
    monkeypatch.setattr("medgym.evals.evaluating.named_suite.load_suite", lambda name: THREE)
    monkeypatch.setattr("medgym.rollout.collection.RETRIES", 0)
    act = Scripted.act

    def broken(where: str, error: Exception) -> None:
        async def acting(self: Scripted, conversation: Any, sampling: Any) -> Any:
            if any(where in message.text for message in conversation):
                raise error
            return await act(self, conversation, sampling)

        monkeypatch.setattr(Scripted, "act", acting)

    return broken


def test_the_others_go_on_and_the_status_says_that_one_failed(
    breaking: Break, tmp_path: Path, capsys: Capture
) -> None:
    breaking("In which half", OSError("the line is cut"))
    words = [*WORDS, "--out", str(tmp_path / "run")]
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.err.count("1 of 3 benchmarks could not be judged: side (") == 1
    rows = [line.split()[:2] for line in said.out.splitlines()[1:4]]
    assert rows == [["kind", "2"], ["size", "2"], ["side", "-"]]
    found = read_results(tmp_path / "run")
    assert list(found["benchmarks"]) == ["kind", "size"]
    assert list(found["not_judged"]) == ["side"]
    assert RunFolder(tmp_path / "run").manifest["status"] == "running", "something is missing"
    page = (tmp_path / "run/report.html").read_text("utf-8")
    assert "side could not be judged" in page
    assert set(re.findall(r">status</td><td[^>]*>(\w+)<", page)) == {"stopped"}, "it is over then"

    breaking("no such words", OSError())
    assert main([*words, "--json"]) == 0, "the same command plays what is missing"
    found = json.loads(capsys.readouterr().out)
    assert sorted(found["benchmarks"]) == ["kind", "side", "size"]
    assert "not_judged" not in found
    assert RunFolder(tmp_path / "run").manifest["status"] == "done"


def test_a_suite_without_any_reply_has_no_figures(breaking: Break, capsys: Capture) -> None:
    breaking("", Failure("policy", "no", withheld="refused"))
    assert main(WORDS) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "3 of 3 benchmarks could not be judged: kind (no case has a reply (refused:" in said.err
    assert "nor could side, size" in said.err


def test_a_folder_that_takes_nothing_more_ends_all(
    breaking: Break, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the next benchmark is asked would be lost as well."""

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("medgym.rollout.keeper.PATIENCE", 0.0)
    monkeypatch.setattr("medgym.storage.trajectories.ImageStore.put_png", full)
    assert main([*WORDS, "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "fix: make room" in said
    assert "benchmarks" not in said
