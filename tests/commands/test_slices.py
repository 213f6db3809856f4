"""What commands draw of volumes, and how a person plays one."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgym.cases import open_cases
from medgym.cli import main
from medgym.commands.slices import spread
from medgym.imaging.drawing import GOLD
from medgym.imaging.study import open_study

CASES = "phantom,look=ct-volume,question=kind,size=128,depth=8:train[:1]"
Capture = pytest.CaptureFixture[str]


def test_slices_are_spread_evenly_and_those_that_are_wanted_are_among_them() -> None:
    assert spread(5, 12) == [0, 1, 2, 3, 4]
    assert spread(101, 5) == [0, 25, 50, 75, 100]
    assert spread(101, 5, {30, 31, 200}) == [0, 30, 31, 50, 100]
    assert spread(101, 2, {30, 31, 32}) == [30, 31]
    assert spread(7, 1) == [0]
    assert spread(9, 3, range(4, 7)) == [4, 5, 6]


def gold_pixels(picture: Image.Image) -> int:
    return int((np.asarray(picture) == (0, 200, 83)).all(axis=-1).sum())


def test_a_sheet_of_cases_shows_slices_of_volumes(tmp_path: Path) -> None:
    assert GOLD == "#00c853"
    sizes = []
    for options in ([], ["--gold"]):
        out = tmp_path / "sheet.png"
        given = [*options, "--view-size", "64", "--side", "128", "--out", str(out)]
        assert main(["cases", "show", CASES, *given]) == 0
        with Image.open(out) as page:
            sizes.append(page.size)
            assert bool(gold_pixels(page.convert("RGB"))) == bool(options)
    # Two rows of four slices are wider than the first view; gold adds a close view of its slice.
    assert sizes[0][0] > 128 + 4 * 64
    assert sizes[1][0] > sizes[0][0] + 64
    assert sizes[0][1] > 2 * 64


def played(line: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    return main(["play", *arguments, "--policy", "human", "--tools", "slice,zoom,window"])


def test_a_person_scrolls_through_a_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (case,) = open_cases(CASES)
    (region,) = case.regions
    lines = "slice 0 axial 7\nzoom 1 0 0 500 500\nwindow 2 lung\nA\n"
    out = tmp_path / "played"
    asked = (CASES, "--view-size", "64", "--out", str(out))
    assert played(lines, monkeypatch, *asked) == 0
    told = capsys.readouterr().out
    assert "coronal 63 of 0 to 127, mean of 128. Other planes: axial 0 to 7" in told
    assert "View 3: 64 x 64 pixels of image 0, axial 7 of 0 to 7, window -600, 1500." in told
    assert {path.name for path in out.glob("overview-*")} == {
        "overview-0.png", "overview-0-axial-7.png", f"overview-0-axial-{region.middle}.png"
    }  # fmt: skip
    found = {path.name: gold_pixels(Image.open(path)) > 0 for path in out.glob("overview-*")}
    assert [name for name, gold in found.items() if gold] == [
        f"overview-0-axial-{region.middle}.png"
    ]
    again = (*asked[:-1], str(tmp_path / "again"), "--json")
    assert played(lines, monkeypatch, *again) == 0
    record = capsys.readouterr().out.rpartition("): {")[2]  # behind what a person is asked
    looks = json.loads("{" + record)["looks"]
    assert [(look["plane"], look["index"]) for look in looks] == [("axial", 7)] * 3
    assert [look["window"]["centre"] for look in looks if "window" in look] == [-600]


def test_a_volume_of_ones_own_starts_at_the_plane_and_index_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    nibabel = pytest.importorskip("nibabel")
    voxels = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
    file = tmp_path / "own.nii"
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), file)
    asked = ("--image", str(file), "--question", "What?")
    assert played("x\n", monkeypatch, *asked, "--out", str(tmp_path / "middle")) == 0
    assert "axial 2 of 0 to 3" in capsys.readouterr().out
    assert played("x\n", monkeypatch, *asked, "--index", "2") == 2
    assert "needs a plane and an index; fix: name one of" in capsys.readouterr().err
    place = ("--plane", "coronal", "--index", "3")
    assert played("x\n", monkeypatch, *asked, *place, "--out", str(tmp_path / "out")) == 0
    assert "coronal 3 of 0 to 4" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "view-0.png") as view:
        assert view.tobytes() == open_study(file).show("coronal", 3).tobytes()
    for wrong, line in {
        ("--frame", "1", *place): "--frame excludes --plane and --index",
        ("--plane", "coronal", "--index", "9"): "has 5 image(s)",
    }.items():
        assert played("x\n", monkeypatch, *asked, *wrong) == 2
        assert line in capsys.readouterr().err
    assert main(["play", CASES, "--index", "3", "--policy", "human"]) == 2
    assert "go with --image" in capsys.readouterr().err
