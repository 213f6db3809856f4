"""Nothing that a policy is handed leads to what a published set says beside the question."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medgym.cases import Case, open_cases
from tests.sources.vqa import test_slake
from tests.sources.vqa.conftest import image_bytes, write_parquet
from tests.test_no_leak import SIZES, faults

SECRET = "sarcoidosis"


def slake(folder: Path) -> Case:
    """Its image lies in a zip with a mask and boxes; gold stands in the same row too."""
    beside = {"question": "What is in the liver?", "content_type": SECRET, "triple": [SECRET]}
    row = test_slake.question(10, SECRET, **beside)
    data = test_slake.written(folder, image_bytes, "imgs.zip")
    (data / "slake" / "test.json").write_text(json.dumps([row]))
    return open_cases(f"slake,data={data},counts=any,regions=all:test")[0]


def vqa_rad(folder: Path) -> Case:
    """Its image lies in the file that holds the answer."""
    row = {"image": 20, "question": "What is it?", "answer": SECRET}
    write_parquet(folder / "vqa-rad/data/test-0.parquet", [row])
    return open_cases(f"vqa-rad,data={folder},counts=any:test")[0]


def mmmu(folder: Path) -> Case:
    """Its explanation stands beside the question."""
    row = {
        "id": "validation_Pharmacy_1",
        "question": "What is it? <image 1>",
        "options": f"['{SECRET}', 'a cyst', 'gout']",
        "explanation": f"Surely {SECRET}, a sealed guess.",
        **{f"image_{n}": None for n in range(2, 8)},
        "image_1": {"bytes": image_bytes(9), "path": "A sealed guess.png"},
        "answer": "A",
        "question_type": "multiple-choice",
        "subfield": "sealed",
    }
    path = folder / "Pharmacy" / "validation-0.parquet"
    path.parent.mkdir()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {name: image for name in row if name.startswith("image_")}
    columns = {name: pa.array([value], kinds.get(name)) for name, value in row.items()}
    pq.write_table(pa.table(columns), path)
    spec = f"mmmu-med,data={folder},counts=any,subject=Pharmacy:validation"
    case = open_cases(spec)[0]
    assert "sealed" not in case.model_dump_json()
    return case


@pytest.mark.parametrize("make", [slake, vqa_rad, mmmu])
def test_no_gold_is_handed_out(
    make: Callable[[Path], Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make(tmp_path)
    monkeypatch.setitem(SIZES, case.source, (12, 8))
    (tmp_path / "views").mkdir()
    assert faults(case, tmp_path / "views") == []
