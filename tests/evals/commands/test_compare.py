"""`medgym compare`, `score` and `runs` over evaluations that were really run."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from medgym.cli import main
from medgym.evals.outcomes.table import OUTCOMES, read_outcomes, write_outcomes
from medgym.evals.reports.run import ReportedRun
from medgym.evals.viewer.data import PageData
from medgym.storage.run_folder import RunFolder

Capture = pytest.CaptureFixture[str]
CASES = "phantom,question=kind:test[:40]"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("oracle", "prior"):
        words = ["eval", CASES, "--policy", f"scripted:{name}", "--out", str(folder / name)]
        assert main(words) == 0
    words = [
        "eval",
        f"{CASES[:-5]}[:9]",
        "--policy",
        "scripted:prior",
        "--out",
        str(folder / "few"),
    ]
    assert main(words) == 0
    return folder


def test_the_oracle_wins_over_the_prior(runs: Path, capsys: Capture) -> None:
    assert main(["compare", str(runs / "prior"), str(runs / "oracle")]) == 0
    out = capsys.readouterr().out
    assert "100.0 %" in out
    assert " win" in out
    assert "0 only the first; 40 groups" in out
    assert f"{runs / 'oracle'}/view/index.html#store=trajectories&find=" in out
    assert f"medgym view {runs / 'oracle'} writes the page of these links" in out
    assert main(["compare", str(runs / "prior"), str(runs / "oracle"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["runs"][str(runs / "oracle")]
    assert row["difference"]["outcome"] == "win"
    assert row["difference"]["only_first"] == 0


def test_a_run_ties_with_itself(runs: Path, capsys: Capture) -> None:
    assert main(["compare", str(runs / "prior"), str(runs / "prior")]) == 0
    assert " tie" in capsys.readouterr().out


def test_a_tie_says_what_the_cases_could_have_shown(runs: Path, capsys: Capture) -> None:
    """Of 40 cases of which 8 differ: a difference of 18 points, and none of what was seen."""
    table = read_outcomes(runs / "prior") or []
    changed = [
        replace(each, verdict="wrong" if each.verdict == "right" else "right") if n < 8 else each
        for n, each in enumerate(table)
    ]
    shutil.copytree(runs / "prior", runs / "other")
    write_outcomes(runs / "other", changed)
    assert main(["compare", str(runs / "prior"), str(runs / "other")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"these cases show one of \d+\.\d points or more with a chance of 80 %", out)
    assert "cases grouped like these would show the one that was seen" in out


def test_tables_fit_80_columns_whatever_names_are(runs: Path, capsys: Capture) -> None:
    long = runs / ("a-run-with-a-name-that-alone-would-fill-most-of-a-line" * 2)
    shutil.copytree(runs / "prior", long)
    outcomes = read_outcomes(long) or []
    write_outcomes(
        long,
        [replace(each, benchmark="a-benchmark-with-a-long-name-of-its-own") for each in outcomes],
    )
    for words in (["runs", str(runs)], ["compare", str(long), str(long)]):
        assert main(words) == 0
        table = [line for line in capsys.readouterr().out.splitlines() if line.count("  ") > 2]
        assert table
        assert max(map(len, table)) <= 80, words
    assert main(["score", str(runs / "prior"), "--by", "modality,body-part,answer_type"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "modality  episodes  groups   right  95 % interval  leniently" in lines
    assert "answer type: all cases are of one kind" in lines
    assert max(len(line) for line in lines if not line.startswith("outcomes:")) <= 80


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], "takes two runs or more; fix:"),
        (["few"], "has 40 episodes and"),
        (["nothing"], "is no run folder"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    runs: Path, capsys: Capture, others: list[str], said: str
) -> None:
    assert main(["compare", str(runs / "prior"), *(str(runs / each) for each in others)]) == 2
    assert said in capsys.readouterr().err


def test_a_stored_run_is_scored_again_as_it_was(runs: Path, capsys: Capture) -> None:
    table = runs / "prior" / OUTCOMES
    before = table.read_bytes()
    table.unlink()
    assert main(["score", str(runs / "prior"), "--json"]) == 0
    assert table.read_bytes() == before
    found = json.loads(capsys.readouterr().out)["benchmarks"][""]
    results = json.loads((runs / "prior" / "results.json").read_text())
    (policy,) = results["policies"].values()
    assert found["accuracy"] == policy["greedy"]["accuracy"]


def test_runs_are_listed_with_their_figures(runs: Path, capsys: Capture) -> None:
    (runs / "broken").mkdir(exist_ok=True)
    (runs / "broken" / "manifest.json").write_text("no json")
    assert main(["runs", str(runs), "--json"]) == 0
    found = {line["run"]: line for line in json.loads(capsys.readouterr().out)}
    assert found["oracle"]["value"] == 1.0
    assert (found["few"]["n"], found["few"]["status"]) == (9, "done")
    assert found["broken"]["status"] == "unreadable"
    assert main(["runs", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "scripted:oracle, greedy" in out
    assert main(["runs", str(runs / "nowhere")]) == 2


def test_runs_on_exchanged_images_are_not_compared(tmp_path: Path, capsys: Capture) -> None:
    table, image = tmp_path / "cases.jsonl", tmp_path / "a.png"
    asked = {"image": "a.png", "question": "Which?", "options": ["dark", "bright"]}
    table.write_text(json.dumps(asked | {"answer": "dark"}))
    for name, grey in (("a", 10), ("b", 200), ("c", 200)):
        Image.new("L", (40, 30), grey).save(image)
        words = [
            "eval",
            f"table,path={table}:all",
            "--policy",
            "scripted:prior",
            "--out",
            str(tmp_path / name),
        ]
        assert main([*words, *(["--view-size", "32"] if name == "c" else [])]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "showed other images of 1 of 1 cases" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    assert "the protocol differs in view_size: 448 and 32" in out
    assert "of 1 cases it is not known whether both showed the same images" in out
    assert main(["report", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "showed other images" in (tmp_path / "a" / "comparison.html").read_text("utf-8")


def test_a_run_that_nobody_writes_any_more_has_stopped(
    runs: Path, tmp_path: Path, capsys: Capture
) -> None:
    place = tmp_path / "killed"
    shutil.copytree(runs / "few", place)
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))

    def said() -> set[str]:
        assert main(["runs", str(tmp_path), "--json"]) == 0
        (line,) = json.loads(capsys.readouterr().out)
        facts = dict(PageData(RunFolder.open(place)).facts())
        return {line["status"], facts["status"], ReportedRun.open(str(place)).manifest["status"]}

    assert said() == {"stopped"}
    again = ["eval", f"{CASES[:-5]}[:9]", "--policy", "scripted:prior", "--out", str(place)]
    folder = RunFolder.open(place)
    folder.claim()
    assert said() == {"running"}
    del folder
    assert main(again) == 0, "it can be resumed"
    capsys.readouterr()
    assert said() == {"done"}


@pytest.mark.parametrize("accuracy", [None, {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0}])
def test_where_no_episode_counts_there_is_no_accuracy_of_0_percent(
    accuracy: dict[str, float] | None, runs: Path, tmp_path: Path, capsys: Capture
) -> None:
    place = tmp_path / "none"
    shutil.copytree(runs / "few", place)
    results = json.loads((place / "results.json").read_text())
    (ways,) = results["policies"].values()
    refused = {"refused": {"value": 1.0, "low": 0.7, "high": 1.0, "n": 9}}
    ways["greedy"] |= {"accuracy": accuracy, "withheld": refused}
    (place / "results.json").write_text(json.dumps(results))
    assert main(["runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "%  " not in out.partition("interval")[2]
    why = "no accuracy: no episode counts (refused 9)"
    assert f"none, scripted:prior, greedy: {why}" in out
    assert main(["report", str(place)]) == 0
    assert why in (place / "report.html").read_text("utf-8")


def test_with_repeats_episodes_are_counted_and_said(tmp_path: Path, capsys: Capture) -> None:
    for name in ("first", "second"):
        words = ["eval", "phantom", "--only", "kind", "--limit", "2", "--repeats", "2"]
        words += ["--policy", "scripted:random", "--out", str(tmp_path / name)]
        assert main(words) == 0
    out = capsys.readouterr().out
    assert re.search(r"suite phantom\s+episodes +accuracy", out)
    assert re.search(r"\nkind +4 ", out)
    assert main(["compare", str(tmp_path / "first"), str(tmp_path / "second")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"benchmark\s+episodes ", out)
    assert "0 episodes only the second has right" in out
