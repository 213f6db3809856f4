import json
import tomllib
from pathlib import Path

import pytest

from medgym.cli import main
from medgym.evals.commands.eval import role_rows
from medgym.judge import Judgement, RoleJudgement
from medgym.metrics.rate import Rate
from medgym.storage.run_folder import RunFolder

Capture = pytest.CaptureFixture[str]
ASKED = ["eval", "phantom,question=kind:test[:12]", "--policy"]


def test_the_table_names_the_interval_and_each_answer(capsys: Capture) -> None:
    assert main([*ASKED, "scripted:oracle"]) == 0
    out = capsys.readouterr().out
    assert "accuracy           100.0 % (95 % interval 75.8 to 100.0)" in out
    assert "hit a gold region  100.0 %" in out
    assert "  granular " in out


@pytest.mark.usefixtures("no_progress")
def test_json_has_the_same_figures_and_nothing_else(capsys: Capture) -> None:
    assert main([*ASKED, "scripted:prior", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert found["accuracy"]["n"] == 12
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]
    assert (found["answered"], found["looked"], found["hit"]) == (1.0, 0.0, 0.0)


def test_a_run_folder_keeps_what_was_played(tmp_path: Path, capsys: Capture) -> None:
    words = [*ASKED, "scripted:random", "--greedy", "--no-tools", "--seed", "4", "--json"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    printed = json.loads(capsys.readouterr().out)
    folder = RunFolder.open(tmp_path / "a")
    asked = tomllib.loads(folder.recipe)
    assert (asked["temperature"], asked["tools"], asked["seed"]) == (0.0, [], 4)
    assert folder.manifest["counts"] == {"trajectories": 12}
    kept = json.loads((folder.path / "results.json").read_text())
    assert kept == {key: value for key, value in printed.items() if key != "out"}
    first = next(iter(folder.trajectories))
    assert folder.images.get(first.nodes[0].images[0].sha256).size == (64, 64)


def test_the_folder_of_another_run_is_refused_before_anything_is_played(
    tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "mine").write_text("precious")
    assert main([*ASKED, "scripted:prior", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_consultation_has_a_line_for_each_role(tmp_path: Path, capsys: Capture) -> None:
    recipe = tmp_path / "c.toml"
    recipe.write_text(
        '[consultation]\nopinions = 1\n[roles.triage]\npolicy = "scripted:oracle"\n'
        '[roles.specialist]\npolicy = "scripted:oracle"\n'
        '[roles.attending]\npolicy = "scripted:vote"\n'
    )
    asked = ["eval", "phantom,look=ct,question=kind:test[:4]", "--policy", f"consultation:{recipe}"]
    assert main(asked) == 0
    out = capsys.readouterr().out
    lines = out.partition("\n\n")[2].splitlines()
    assert lines[0].split() == [
        "role", "parts", "right", "answered", "failed", "replies", "calls", "tokens", "seconds",
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[:4] for line in lines[1:]] == [
        [name, "4", "100.0", "%"] for name in ("triage", "specialist:radiologist", "attending")
    ]
    assert main([*asked, "--json"]) == 0
    roles = json.loads(capsys.readouterr().out)["roles"]
    assert roles["attending"]["right"]["n"] == 4


def test_of_who_failed_everywhere_nothing_is_said() -> None:
    failed = RoleJudgement(Rate.of([]), None, 12, None, None, None, None)
    judgement = Judgement(
        "x", Rate.of([True]), 1.0, 0.0, None, {}, 1.0, 0.0, 0.0, {"specialist:a": failed}, ()
    )
    assert role_rows(judgement) == [("specialist:a", "0", "-", "-", "12", "-", "-", "-", "-")]
