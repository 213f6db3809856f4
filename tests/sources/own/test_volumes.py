"""A volume in a table of one's own: where its episodes start, and where its gold lies."""

import json
from pathlib import Path

import numpy as np
import pytest

import medgym
from medgym.cli import main

nibabel = pytest.importorskip("nibabel")
BOX = [1, 1, 4, 4]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Questions about a volume of 7 axial, 6 coronal and 8 sagittal images."""
    voxels = np.arange(8 * 6 * 7, dtype=np.int16).reshape(8, 6, 7)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "own.nii.gz")
    placed = {"box": BOX, "plane": "axial", "index": 2, "count": 3}
    rows = [
        {"question": "Which?", "options": ["a", "b"], "answer": "a"},
        {"question": "Where?", "type": "region", "answer": "", "region": placed},
        {"question": "What?", "options": ["a", "b"], "answer": "a", "region": BOX},
        {"question": "Who?", "options": ["a", "b"], "answer": "a", "region": placed | {"index": 5}},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"image": "own.nii.gz"} | row) for row in rows))
    return file


def test_an_episode_starts_in_the_middle_and_gold_lies_where_it_says(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = medgym.open_cases(f"table,path={table}:all")
    episode = medgym.Episode(first, medgym.Rules())
    assert "axial 3 of 0 to 6. Other planes: coronal" in str(episode.messages[1].text)
    assert (second.regions[0].plane, second.regions[0].index, second.regions[0].count) == (
        "axial",
        2,
        3,
    )
    assert main(["cases", "stats", f"table,path={table}:all", "--json"]) == 0
    assert '"8 x 6 x 7": 4' in capsys.readouterr().out
    oracle = list(medgym.collect([second], "scripted:oracle", ordered=True))
    assert [each.correct for each in oracle] == [True]


def test_gold_that_would_lie_on_any_image_costs_its_case(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = f"table,path={table}:all"
    assert main(["eval", spec, "--policy", "scripted:prior", "--json"]) == 0
    said = capsys.readouterr().out
    assert '"count": 1' in said
    assert "does not say in which plane" in said
    assert main(["cases", "check", spec, "--json"]) == 1
    row = next(
        row
        for row in json.loads(capsys.readouterr().out)["checks"]
        if row["check"] == "each region lies in its image"
    )
    assert row["verdict"] == "fail"
    assert row["figure"].startswith("2 of 3 are not")
    assert "1: there is no such index" in row["figure"]
