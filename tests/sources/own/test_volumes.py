"""A volume in a table of one's own: where its episodes start, and where its gold lies."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import medgym
from medgym.cli import main
from medgym.errors import UserError
from tests.imaging.series.conftest import write_slice

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


def test_a_cell_names_one_of_several_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uids = ("1.2.3.4.5", "1.2.3.4.6")
    for value, uid in enumerate(uids, 1):
        for z in range(3):
            pixels = np.full((4, 4), 10 * value + z, np.uint16)
            write_slice(
                tmp_path / "p 1" / f"{value}{z}.dcm", pixels, position=(0, 0, z), series=uid
            )
    file, spec = tmp_path / "rows.csv", f"table,path={tmp_path / 'rows.csv'}:all"
    file.write_text("image,question,answer\np 1,Which?,a\n")
    assert main(["cases", "check", spec, "--json"]) == 1
    said = str(json.loads(capsys.readouterr().out))
    label = said.partition("in a table write p 1#series=")[2][:8]
    assert label in said.partition("fix: name one of ")[2].partition("in a table")[0]
    cells = (f"p 1#series={uids[1]}", f"p 1#series={label}", "p 1#series=9.9.9.9.9")
    file.write_text("image,question,answer\n" + "".join(f"{cell},Which?,a\n" for cell in cells))
    by_uid, by_label, none = medgym.open_cases(spec)
    assert medgym.open_study(by_uid.images[0]).values("axial", 0)[0, 0] == 20
    assert medgym.open_study(by_label.images[0]).values("axial", 0)[0, 0] in (10, 20)
    assert by_uid.group == by_label.group, "of one patient, as far as is known"
    with pytest.raises(
        UserError, match=r"what is shown here of a SeriesInstanceUID\); fix: "
    ) as no:
        medgym.open_study(none.images[0])
    assert label in str(no.value), "the series that there are"


def test_a_cell_names_a_time_point_and_no_series_of_a_picture(tmp_path: Path) -> None:
    voxels = np.stack([np.full((4, 4, 4), 5 * time, np.int16) for time in range(3)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "time.nii")
    with pytest.raises(
        UserError, match=r"0\.\.2 as the series; in a table write time.nii#series=0"
    ):
        medgym.open_study(tmp_path / "time.nii")
    Image.new("L", (4, 4)).save(tmp_path / "a#1.png")
    cells = ("time.nii#series=2 | a#1.png", "a#1.png#series=0")
    file = tmp_path / "rows.csv"
    file.write_text("image,question,answer\n" + "".join(f"{cell},Which?,a\n" for cell in cells))
    both, wrong = medgym.open_cases(f"table,path={file}:all")
    times, picture = (medgym.open_study(ref) for ref in both.images)
    assert times.values("axial", 0)[0, 0] == 10
    assert picture.planes["image"].size == (4, 4)
    with pytest.raises(UserError, match="has no series; fix: leave the series out"):
        medgym.open_study(wrong.images[0])
