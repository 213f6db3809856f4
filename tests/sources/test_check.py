"""A check of a published source: its counts, what it declares, and its clean splits."""

import json
from pathlib import Path

import pytest
from PIL import Image
from pyarrow import Table, parquet

from medgym.cases import open_cases
from medgym.cli import main
from medgym.imaging.study import ImageRef, open_image
from medgym.sources.vqa.vqa_rad import CARD


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of VQA-RAD with five images, of which both of test are in train too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = []
    for number, look in enumerate(("ct", "fundus", "radiograph", "histology", "ct")):
        drawn = open_image(ImageRef(uri=f"phantom:train/{look}/256/{number}")).pixels
        Image.fromarray(drawn).save(tmp_path / "one.png")
        images.append({"bytes": (tmp_path / "one.png").read_bytes(), "path": None})
    rows = {"train": [0, 1, 2, 3, 4, 4, 2], "test": [0, 1, 1]}
    for (split, numbers), file in zip(rows.items(), CARD.files, strict=False):
        made = [
            {"image": images[n], "question": "is there air?", "answer": "" if k == 6 else "yes"}
            for k, n in enumerate(numbers)
        ]
        path = tmp_path / "vqa-rad" / file.path
        assert split in path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(Table.from_pylist(made), path)
    return tmp_path


def test_its_leak_is_declared_and_its_clean_splits_share_nothing(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = f"vqa-rad,data={copy}"
    assert main(["cases", "check", spec, "--json", "--out", str(copy / "out")]) == 1
    found = json.loads(capsys.readouterr().out)
    rows = {row["check"]: row for row in found["checks"]}
    failed = {name for name, row in rows.items() if row["verdict"] == "fail"}
    assert failed == {f"the counts of {split} are those of the card" for split in ("train", "test")}
    assert "7 rows (expected 1,793)" in rows["the counts of train are those of the card"]["figure"]
    shared = rows["no image is in two splits (exact copies)"]
    assert (shared["verdict"], shared["figure"][:6]) == ("warn", "2 of 5")
    assert CARD.leaks[0] in shared["fix"]
    dropped = rows["each row makes a case"]
    assert dropped["figure"] == "1 dropped (1: the answer is blank)"
    assert (copy / "out" / "leaks.png").is_file()
    groups = {
        split: {case.group for case in open_cases(f"{spec},counts=any:{split}-clean")}
        for split in ("train", "test")
    }
    assert groups["train"]
    assert groups["test"]
    assert not groups["train"] & groups["test"]
