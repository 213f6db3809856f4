"""300 files that are not what they were: one clear line each, and a run goes on without them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medgym.imaging.dicom.study import DicomStudy
from medgym.imaging.study import open_study
from tests.imaging.mutations import NUMBER, _dicom, originals

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What a process of its own said of all of them, and what stood on its stderr beside that."""
    folder = tmp_path_factory.mktemp("mutations")
    words = [sys.executable, "-m", "tests.imaging.mutations", str(folder), str(NUMBER)]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    last = (done.stderr.splitlines() or ["nothing"])[-1]
    assert not done.returncode, f"it ended at {last}: {done.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    names = set(found["said"])
    return found, "\n".join(line for line in done.stderr.splitlines() if line not in names)


def test_each_opens_or_is_refused_in_one_line(told: tuple[dict[str, Any], str]) -> None:
    found, beside = told
    said = found["said"]
    assert len(said) == NUMBER
    refused = {name: text for name, text in said.items() if text is not None}
    assert NUMBER * 0.6 < len(refused) < NUMBER * 0.9
    for name, text in refused.items():
        assert "\n" not in text, name
        assert "; fix: " in text, name
        assert name in text, text
        assert len(text) < 700, name
    harmless = [name for name in said if said[name] is None and "-" not in name]
    assert harmless == ["zeros.nii.gz"], "what is crafted is refused, but zeros that nobody reads"
    # libtiff writes to stderr by itself, and quotes nothing of a file.
    others = [line for line in beside.splitlines() if not line.startswith("TIFF")]
    assert not others


def test_none_takes_more_than_500_mb(told: tuple[dict[str, Any], str]) -> None:
    found, _ = told
    assert 30_000 < found["before"] < found["after"] < 500 * 1024, "in KiB"


def test_a_run_goes_on_without_them(told: tuple[dict[str, Any], str]) -> None:
    found, _ = told
    failed = found["failed"]
    played = set(found["played"])
    assert not played & set(failed)
    assert {f"whole-{name}" for name in originals()} <= played
    assert len(failed) > 80
    for name, text in failed.items():
        assert re.match(r"image: [^\n]*; fix: [^\n]*$", text), text
        assert "image 0" in text or name in text, "a path is said to nobody"
    opened = [name for name in played if not name.startswith("whole")]
    # Of a few only the last image is damaged, which no case of the run shows.
    assert sum(found["said"][name] is not None for name in opened) < 8


def test_a_file_of_very_many_frames_is_opened_at_once(tmp_path: Path) -> None:
    """No work grows with a number that a header merely says."""
    path = tmp_path / "a.dcm"
    path.write_bytes(_dicom("CT_small.dcm", NumberOfFrames=2**31 - 1))
    study = open_study(path)
    assert isinstance(study, DicomStudy)
    assert study.planes["frame"].count == 2**31 - 1
    assert study.values("frame", 0).shape == (128, 128)


def test_the_reason_is_the_right_one(tmp_path: Path) -> None:
    """Not that a decoder is missing, nor that a number is too great."""
    from medgym.errors import UserError

    damaged = _dicom("MR_small_RLE.dcm", Rows=80)
    for data, said in (
        (damaged, "has damaged pixels, compressed with RLE Lossless; fix: copy it again"),
        (_dicom("CT_small.dcm", Rows=0), "says that it has no pixels"),
        (b"", "is empty; fix: copy it again"),
    ):
        (tmp_path / "a.dcm").write_bytes(data)
        with pytest.raises(UserError, match=said):
            open_study(tmp_path / "a.dcm").values("image", 0)
