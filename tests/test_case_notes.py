"""What results say of the cases that they are about: printed, in results.json, in the manifest."""

import csv
from pathlib import Path

import pytest

from medgym.case_notes import note_lines
from medgym.cases import open_cases, write_cases
from medgym.cli import main
from medgym.storage.results import read_results
from medgym.storage.run_folder import RunFolder


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A table of which one row has no answer."""
    case = open_cases("phantom,look=radiograph,question=presence:test[:1]")[0]
    write_cases([case], tmp_path / "one.jsonl")
    with (tmp_path / "mine.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("image", "question", "A", "B", "answer"))
        for answer in ("yes", "", "no"):
            rows.writerow((str(tmp_path / "a.png"), "Is it?", "yes", "no", answer))
    from PIL import Image

    Image.new("L", (8, 8), 90).save(tmp_path / "a.png")
    return f"table,path={tmp_path / 'mine.csv'}:all"


def test_dropped_rows_are_carried_into_results(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("eval", "rollout"):
        out = tmp_path / command
        assert main([command, table, "--policy", "scripted:oracle", "--out", str(out)]) == 0
        shown = capsys.readouterr().out
        manifest = RunFolder.open(out).manifest
        (dropped,) = manifest["dropped"]
        assert (dropped["cases"], dropped["rows"]) == (table, 1)
        assert "answer" in dropped["first"][0]["why"]
        assert "mine.csv" in dropped["first"][0]["place"]
        for line in note_lines(manifest):
            assert line in shown
        assert any("1 row makes no case, such as " in line for line in note_lines(manifest))
    assert read_results(tmp_path / "eval")["dropped"] == [dropped]


def test_equal_options_are_carried_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = open_cases("phantom,look=radiograph,question=presence:test[:1]")[0]
    twice = case.model_copy(update={"options": ("yes", "no", "Yes")})
    write_cases([twice], tmp_path / "c.jsonl")
    words = ["eval", str(tmp_path / "c.jsonl"), "--policy", "scripted:prior"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    (note,) = read_results(tmp_path / "run")["notes"]
    assert note["note"] == f"1 case offers an option twice, such as {case.id} ('yes')"
    assert note["note"] in capsys.readouterr().out


def test_equal_options_of_a_table_are_carried_too(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (8, 8), 90).save(tmp_path / "a.png")
    lines = ["image,question,A,B,answer", "a.png,Is it?,yes,Yes,yes", "a.png,Or not?,yes,no,yes"]
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    words = ["eval", f"table,path={tmp_path / 'mine.csv'}:all", "--policy", "scripted:prior"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    (note,) = read_results(tmp_path / "run")["notes"]
    assert note["note"] == "1 case offers an option twice, such as table/all/mine/2 ('yes')"
