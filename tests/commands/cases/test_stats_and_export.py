"""`medgym cases stats` and `export`: what is counted, and what a trainer reads."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgym.case_checks.export import export_cases
from medgym.cases import Case, open_cases, write_cases
from medgym.cli import main
from medgym.errors import UserError
from medgym.imaging.study import ImageRef

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """Three cases of two patients; one with a prior and a larger image, one without its image."""
    for name, size in (("a", (40, 30)), ("b", (2048, 512))):
        Image.effect_noise(size, 40).save(tmp_path / f"{name}.png")

    def made(key: str, group: str, images: tuple[ImageRef, ...], **fields: object) -> Case:
        given = {"id": f"mine/test/{key}", "question": "What is it?", "answer": "None"}
        given |= {"group": group, "source": "mine", "split": "test", "images": images} | fields  # type: ignore[dict-item]
        return Case(**given)  # type: ignore[arg-type]

    first = ImageRef(uri=f"file:{tmp_path}/a.png")
    prior = ImageRef(uri=f"file:{tmp_path}/b.png", role="prior")
    gone = ImageRef(uri=f"file:{tmp_path}/gone.png")
    cases = [
        made("1", "p", (first, prior), options=("None", "007"), modality="CT", context="Cough."),
        made("2", "p", (gone,), answer="a long answer here", language="vi"),
        made("3", "q", (first,), accepted=("nothing",)),
    ]
    write_cases(cases, tmp_path / "cases.jsonl")
    return str(tmp_path / "cases.jsonl")


def test_what_cases_hold_is_counted(spec: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["cases", "stats", spec, "--json", "--out", str(tmp_path / "stats.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cases"], found["groups"], found["images"]) == (3, 2, 3)
    counts = found["counts"]
    assert counts["answer"] == {"None": 2, "a long answer here": 1}
    assert counts["modality"] == {"unknown": 2, "CT": 1}
    assert counts["language"] == {"en": 2, "vi": 1}
    assert counts["images of a case"] == {"1": 2, "2": 1}
    assert counts["words of an answer"] == {"1": 2, "3 to 4": 1}
    assert counts["cases of a group"] == {"1": 1, "2": 1}
    assert counts["size of an image (3 looked at)"] == {"40 x 30": 2, "unreadable": 1}
    assert Image.open(tmp_path / "stats.png").width > 1000
    assert main(["cases", "stats", spec]) == 0
    assert "modality                        unknown 2; CT 1\n" in capsys.readouterr().out


def test_what_is_exported_is_read_by_datasets(spec: str, tmp_path: Path, capsys: Capture) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "set"
    assert main(["cases", "export", spec, "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["cases"] == 2
    assert [each["case"] for each in said["unreadable"]] == ["mine/test/2"]
    rows = datasets.load_from_disk(str(out))
    first = rows[0]
    assert first["prompt"] == [
        {"role": "user", "content": "Context: Cough.\nWhat is it?\nA. None\nB. 007"}
    ]
    assert [image.size for image in first["images"]] == [(40, 30), (1024, 256)]
    source = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert (np.asarray(first["images"][0]) == source).all()
    assert first["answer"] == "None"
    assert rows[1]["accepted"] == ["nothing"]
    assert not list(tmp_path.glob(".tmp-*"))
    assert main(["cases", "export", spec, "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["cases", "export", spec, "--out", str(tmp_path / "b"), "--no-gold"]) == 0
    blind = datasets.load_from_disk(str(tmp_path / "b"))
    assert {"answer", "accepted"}.isdisjoint(blind.column_names)


def test_an_unreadable_case_is_drawn_as_such(spec: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["cases", "show", spec, "--out", str(tmp_path / "sheet.png"), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["unreadable"]) == ["mine/test/2"]
    assert main(["cases", spec, "--gold"]) == 0


def test_a_folder_that_another_export_filled_meanwhile_is_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    out = tmp_path / "exported"

    def first() -> None:
        out.mkdir(exist_ok=True)
        (out / "theirs").write_text("whole")

    with pytest.raises(UserError, match="is there already; fix: name a new or an empty folder"):
        export_cases(open_cases("phantom,size=256:test[:1]"), out, gold=True, advance=first)
    assert [each.name for each in tmp_path.iterdir()] == ["exported"]
    assert (out / "theirs").read_text() == "whole"
