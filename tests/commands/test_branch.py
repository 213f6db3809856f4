"""`medgym rollout --branch` plays on from a run, and `medgym credit` says what turns were worth."""

import json
import re
from pathlib import Path

import pytest

from medgym.cli import main
from medgym.commands.branch import Origin
from medgym.storage.run_folder import RunFolder

CASES = "phantom,look=radiograph,question=kind:train[:4]"
RANDOM = ["--policy", "scripted:random"]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("branch") / "origin"
    words = ["rollout", CASES, *RANDOM, "--group-size", "3", "--rubric", "grounded"]
    assert main([*words, "--max-turns", "4", "--tools", "crop", "--view-multiple", "32",
                 "--out", str(folder)]) == 0  # fmt: skip
    return folder


def test_of_each_case_the_first_episode_that_goes_on_is_branched_by_the_rules_of_its_run(
    origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "branches"
    words = ["rollout", "--branch", str(origin), *RANDOM, "--group-size", "2", "--out", str(out)]
    assert main(words) == 0
    asked, stored = RunFolder.open(out).asked, list(RunFolder.open(out).trajectories)
    assert (asked["rubric"], asked["max_turns"], asked["tools"]) == ("grounded", 4, ["crop"])
    assert asked["cases"] == CASES
    assert asked["view_multiple"] == 32
    played = list(RunFolder.open(origin).trajectories)
    going_on = {each.case_id for each in played if len(each.nodes) >= 3}
    assert {each.case_id for each in stored} == going_on
    assert len(stored) == 2 * len(going_on)
    for each in stored:
        assert each.fork is not None
        members = [o.member for o in played if o.case_id == each.case_id and len(o.nodes) >= 3]
        assert (each.fork.member, each.fork.turn) == (min(members), 1)
    capsys.readouterr()
    assert main(["credit", str(origin), str(out), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["case"] for row in rows} == {each.case_id for each in played}
    for row in rows:
        assert row["advantage"] == pytest.approx(row["after"] - row["before"])
    assert max(row["episodes"] for row in rows) >= 3  # what is shared is there once
    assert main(["credit", str(origin)]) == 0
    assert "turn and reply" in capsys.readouterr().out


def test_one_episode_is_branched_where_it_is_named(origin: Path, tmp_path: Path) -> None:
    (first, *_) = RunFolder.open(origin).trajectories
    named = f"{origin}#{first.case_id}/{first.member}"
    words = ["rollout", CASES, "--branch", named, "--turn", "0", *RANDOM, "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    (branch,) = RunFolder.open(tmp_path / "one").trajectories
    assert branch.case_id == first.case_id
    assert branch.fork is not None
    assert (branch.fork.member, branch.fork.nodes) == (first.member, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--branch", "{run}", "--turn", "4"], "no episode in .* goes on after turn 4"),
        (["--branch", "{run}#case"], "names no episode; fix: write RUN#CASE/MEMBER"),
        (["--branch", "{run}#case/0"], "holds no episode case#0"),
        (["--branch", "nowhere"], "nowhere is no run folder"),
        (["--branch", "{run}", "--tools", "zoom"], "other instructions"),
        (["--branch", "{run}", "--max-turns", "1"], "max_turns is 1"),
        (["--turn", "1", CASES], "--turn needs --branch"),
        ([], "no CASES are named"),
    ],
)
def test_what_cannot_be_branched_is_one_line(
    words: list[str],
    said: str,
    origin: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [word.replace("{run}", str(origin)) for word in words]
    assert main(["rollout", *given, *RANDOM, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert re.search(said, line)
    assert line.count("\n") == line.count("; fix: ") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_command_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder.create(tmp_path / "run", {"name": "tiny"})
    words = ["rollout", "--branch", str(tmp_path / "run"), *RANDOM, "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "was not made by medgym rollout" in capsys.readouterr().err
    assert main(["credit", str(tmp_path / "run")]) == 2
    assert "no episode of one policy" in capsys.readouterr().err


def test_the_name_of_a_folder_may_have_a_hash_in_it(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a#1" / "run#2", {"command": "rollout"}).path
    for named, episode in (("", None), ("#a/case#1/3", ("a/case#1", 3))):
        found = Origin.of(f"{folder}{named}")
        assert (found.run.path, found.episode) == (folder, episode)
