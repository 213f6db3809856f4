"""`medgym play` of studies of many images."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from medgym.cli import main

VOLUME = "phantom,look=ct-volume,question=kind,size=128,depth=8:test[:1]"


def test_the_other_slices_are_reached_recorded_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["play", VOLUME, "--policy", "scripted:oracle", "--tools", "slice,zoom", "--json"]
    assert main([*words, "--out", str(tmp_path / "played")]) == 0
    played = json.loads(capsys.readouterr().out)
    assert played["correct"]
    assert [(k["tool"], k["plane"]) for k in played["looks"]] == [
        ("slice", "axial"),
        ("zoom", "axial"),
    ]
    overviews = {path.name for path in (tmp_path / "played").glob("overview*")}
    index = played["looks"][0]["index"]
    assert overviews == {"overview-0.png", f"overview-0-axial-{index}.png"}


def test_a_volume_of_ones_own_starts_at_a_plane_and_an_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nibabel = pytest.importorskip("nibabel")
    values = np.arange(8 * 9 * 5, dtype=np.float32).reshape(8, 9, 5)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "head.nii")
    words = ["play", "--image", str(tmp_path / "head.nii"), "--question", "What is it?"]
    words += ["--policy", "human", "--tools", "slice", "--out", str(tmp_path / "out")]
    assert main([*words, "--index", "2"]) == 2
    assert "name one of axial 0..4" in capsys.readouterr().err
    call = '<tool_call>{"name": "slice", "arguments": {"view": 0, "index": 4}}</tool_call>'
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{call}\nnothing\n"))
    assert main([*words, "--plane", "axial", "--index", "2"]) == 0
    said = capsys.readouterr().out
    assert "axial 2 of 0 to 4" in said
    assert "View 1: 8 x 9 pixels of image 0, axial 4 of 0 to 4" in said


def test_a_plane_goes_with_an_image_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", VOLUME, "--policy", "scripted:prior", "--plane", "axial"]) == 2
    assert "--plane and --index go with --image; fix: add --image" in capsys.readouterr().err
