"""`medgym eval --tools on,off,oracle`: the same cases in several arms, and the gaps."""

import json
import shutil
from pathlib import Path

import pytest

from medgym.cases import open_cases, write_cases
from medgym.cli import main
from medgym.errors import UserError
from medgym.evals.looking.arms import arms_in, in_arms
from medgym.evals.looking.gaps import gaps
from medgym.evals.outcomes.table import OUTCOMES, read_outcomes
from medgym.storage.results import read_results
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite

Capture = pytest.CaptureFixture[str]
CASES = "phantom,question=kind:test[:24]"
LOOKER = "scripted:demonstrator,good=0.9"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arms") / "run"
    words = ["eval", CASES, "--policy", LOOKER, "--tools", "on,off,oracle", "--out", str(folder)]
    assert main(words) == 0
    return folder


def test_the_same_cases_are_played_in_each_arm(run: Path) -> None:
    folder = RunFolder.open(run)
    assert folder.manifest["counts"] == {f"judged/{arm}": 24 for arm in ("off", "on", "oracle")}
    found = read_results(run)
    assert (found["suite"], found["arms"]) == ("looking", ["on", "off", "oracle"])
    figures = {
        name: part["policies"][LOOKER]["greedy"] for name, part in found["benchmarks"].items()
    }
    assert figures["on"]["looked"] > 0.7
    assert figures["off"]["looked"] == 0
    assert figures["off"]["calls"] == 0


def test_a_policy_that_lives_on_its_looks_has_a_tool_off_gap_and_no_oracle_gap(run: Path) -> None:
    off, oracle = read_results(run)["looking"]
    assert off["gap"] == "tool-off gap"
    assert off["difference"]["low"] > 0
    assert off["p"] < 0.05
    assert off["verdict"] == "tools help"
    assert off["difference"]["value"] == pytest.approx(off["on"]["value"] - off["off"]["value"])
    assert (oracle["gap"], oracle["verdict"]) == ("oracle gap", "none shown")


def test_the_order_in_which_episodes_finish_changes_no_digit(run: Path) -> None:
    outcomes = read_outcomes(run) or []
    arms = {name: [o for o in outcomes if o.benchmark == name] for name in ("on", "off", "oracle")}
    backwards = {name: each[::-1] for name, each in arms.items()}
    assert len({o.unit for o in outcomes}) > 13, "so many that not all exchanges are tried"
    assert [g.as_dict() for g in gaps(arms, [""])] == [g.as_dict() for g in gaps(backwards, [""])]


def test_compare_says_so_of_two_arms_of_a_run(run: Path, capsys: Capture) -> None:
    assert main(["compare", f"{run}:off", f"{run}:on"]) == 0
    out = capsys.readouterr().out
    assert " win\n" in out
    assert "view/index.html#store=judged%2Fon&find=" in out
    assert main(["compare", f"{run}:of", f"{run}:on"]) == 2
    assert "did you mean 'off'?" in capsys.readouterr().err
    (run / OUTCOMES).rename(run / "aside")
    assert main(["compare", f"{run}:off", f"{run}:on", "--json"]) == 0
    (run / "aside").rename(run / OUTCOMES)
    assert json.loads(capsys.readouterr().out)["runs"][f"{run}:on"][0]["difference"]


def test_an_interrupted_run_is_resumed_and_comes_to_the_same(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    (again / "results.json").unlink()
    (again / OUTCOMES).unlink()
    for part in (again / "judged" / "oracle").glob("*.parquet"):
        part.unlink()
    manifest = json.loads((again / "manifest.json").read_text("utf-8"))
    (again / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    words = ["eval", CASES, "--policy", LOOKER, "--tools", "on,off,oracle", "--out", str(again)]
    assert main([*words, "--json"]) == 0
    capsys.readouterr()
    assert read_results(again)["looking"] == read_results(run)["looking"]
    assert RunFolder.open(again).manifest["content"] == RunFolder.open(run).manifest["content"]


@pytest.mark.parametrize(
    ("tools", "no_tools", "expected"),
    [
        ("on,zoom", False, "names ways of playing and the tool 'zoom'"),
        ("on", False, "compares nothing"),
        ("off,oracle", False, "compares nothing"),
        ("on,on,off", False, "compares nothing"),
        ("on,off", True, "exclude each other"),
    ],
)
def test_what_compares_nothing_is_refused(tools: str, no_tools: bool, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        arms_in(tools, no_tools)


def test_names_of_tools_keep_their_meaning() -> None:
    assert arms_in("zoom,crop", False) == arms_in(None, True) == ()
    assert arms_in("oracle, off ,on", False) == ("on", "off", "oracle")


def test_a_consultation_and_what_has_no_tools_or_regions_are_refused(
    tmp_path: Path, capsys: Capture
) -> None:
    bare = [c.model_copy(update={"regions": ()}) for c in open_cases("phantom:test[:2]")]
    write_cases(bare, tmp_path / "bare.jsonl")
    words = ["--tools", "on,oracle", "--policy"]
    assert main(["eval", str(tmp_path / "bare.jsonl"), *words, "scripted:prior"]) == 2
    assert "no case has a gold region" in capsys.readouterr().err
    assert main(["eval", "phantom:test[:2]", *words, "majority:2:scripted:prior"]) == 2
    assert "fix: name a policy of one role" in capsys.readouterr().err
    with pytest.raises(UserError, match="offers no tools"):
        in_arms(Suite("none", {"a": "b"}, tools=()), {}, ["on", "off"])


def test_cases_without_a_region_are_left_out_of_the_oracle_arm_and_counted(
    tmp_path: Path, capsys: Capture
) -> None:
    cases = list(open_cases("phantom:test[4:12]"))
    marked = sum(bool(case.regions) and case.answer_type == "choice" for case in cases)
    words = ["phantom:test[4:12]", "--policy", LOOKER, "--tools", "on,oracle"]
    assert main(["eval", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["looking"][0]
    assert 0 < marked < 8
    assert found["difference"]["n"] == marked
    assert found["without regions"] == 8 - marked


def test_a_suite_is_played_in_arms_too(capsys: Capture) -> None:
    words = ["eval", "phantom", "--only", "kind,side", "--limit", "3", "--policy", "scripted:prior"]
    assert main([*words, "--tools", "on,off"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("kind-on", "kind-off", "side-off", "side: tool-off gap"))
    assert max(map(len, out.splitlines())) <= 90
