"""ViPET-ReportGen: Vietnamese reports, CT and PET as arrays, splits by month."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medgym
from medgym.errors import UserError
from medgym.imaging.study import open_image, open_study
from tests.serving.hub import Hub, fetched_cases

REPORT = {
    "Nhận định kết quả": "Hình ảnh khối u phổi phải.",
    "Mô tả hình ảnh": {"Đầu - cổ": "Không thấy bất thường.", "Lồng ngực": " ", "Hệ cơ - xương": ""},
}


def _row(year: int, month: int, name: str, end: str = ".npz", **changes: Any) -> dict[str, Any]:
    def path(kind: str, end: str) -> str:
        return f"PETCT{year}/THANG {month}/{kind}/day_27_{name}{end}"

    return {
        "name": name,
        "sex": "F",
        "height": "1.55",
        "weight": "",
        "year": f"{year}.0",
        "pet_path": path("PET", end),
        "ct_path": path("CT", end),
        "report_path": path("reports", ".json"),
        "report_en_path": path("reports_en", ".json"),
        **changes,
    }


ROWS = [
    _row(2017, 12, "patient_195"),
    _row(2018, 9, "patient_195", ".npy"),
    _row(2018, 10, "patient_7"),
    _row(2023, 11, "patient_8", ct_path="../CT/x.npz"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "vipet-reportgen"
    made.mkdir()
    _table(made, ROWS)
    for number, row in enumerate(ROWS[:3]):
        for key, shape in (("ct_path", (5, 4, 4)), ("pet_path", (5, 2, 2))):
            path = made / row[key]
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape) - 20 + number
            if path.suffix == ".npy":
                np.save(path, values)
            else:
                np.savez_compressed(path, data=values)
    for row in ROWS:
        blank = row["name"] == "patient_7"
        _json(made / row["report_path"], dict.fromkeys(REPORT, "") if blank else REPORT)
    _json(made / ROWS[0]["report_en_path"], {"Impression": "Tumour.", "Findings": {"Neck": "No."}})
    return made


def _json(path: Path, held: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(held, ensure_ascii=False), encoding="utf-8")


def _table(folder: Path, rows: list[dict[str, Any]]) -> None:
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _cases(folder: Path, split: str, options: str = "counts=any") -> medgym.CaseList:
    return medgym.open_cases(f"vipet-reportgen,{options},data={folder}:{split}")


def test_the_report_is_the_gold_section_by_section(folder: Path) -> None:
    case = _cases(folder, "all")[0]
    assert case.answer == (
        "Mô tả hình ảnh:\nĐầu - cổ: Không thấy bất thường.\n"
        "Nhận định kết quả: Hình ảnh khối u phổi phải."
    )
    assert (case.answer_type, case.language) == ("report", "vi")
    assert case.context == "Giới tính: F; Chiều cao (m): 1.55"
    assert "khối u" not in case.question


def test_one_name_in_two_years_is_two_groups(folder: Path) -> None:
    cases = _cases(folder, "all")
    assert [case.group for case in cases] == ["2017-patient_195", "2018-patient_195"]
    assert len({case.id for case in cases}) == 2


def test_ct_and_pet_are_volumes_without_millimetres(folder: Path) -> None:
    for number, case in enumerate(_cases(folder, "all")):
        ct, pet = case.images
        assert (ct.plane, ct.index) == ("axial", 2)
        study = open_image(ct)
        assert study.pixels.tolist()[0] == [12 + number, 13 + number, 14 + number, 15 + number]
        assert (study.modality, study.unit, study.spacing_mm) == ("CT", "HU", None)
        assert study.window is not None
        assert (study.window.centre, study.window.width) == (40, 400)
        assert open_image(pet).modality == "PT"
        assert list(open_study(pet).planes) == ["axial"]


def test_splits_are_by_month(folder: Path) -> None:
    assert [case.group for case in _cases(folder, "test")] == ["2017-patient_195"]
    assert [case.group for case in _cases(folder, "train")] == ["2018-patient_195"]
    with pytest.raises(UserError, match="names no case"):
        _cases(folder, "val")


def test_what_cannot_be_scored_is_counted(folder: Path) -> None:
    assert list(_cases(folder, "all").dropped) == [
        ("row 2 of metadata.csv", "the report is blank"),
        (
            "row 3 of metadata.csv",
            "ct_path '../CT/x.npz' names no file in vipet-reportgen",
        ),
    ]


def test_translated_reports(folder: Path) -> None:
    _table(folder, ROWS[:1])
    (case,) = _cases(folder, "all", "language=en,counts=any")
    assert case.answer == "Impression: Tumour.\nFindings:\nNeck: No."
    assert (case.language, case.context) == ("en", "Sex: F; Height (m): 1.55")


def test_the_parts_of_the_authors_have_other_columns(folder: Path) -> None:
    row = ROWS[1]
    kept = {"id": 0, "ct_img_path": row["ct_path"], "pet_img_path": row["pet_path"]}
    _table(folder, [{**kept, "report_path": row["report_path"]}])
    (case,) = _cases(folder, "all")
    assert case.group == "2018-day_27_patient_195"
    assert case.split == "all"


def test_refusals(folder: Path) -> None:
    with pytest.raises(UserError, match=r"has 4 rows \(expected 2,757\) \(by its page\)"):
        len(medgym.open_cases(f"vipet-reportgen,data={folder}:all"))
    with pytest.raises(UserError, match="language of vipet-reportgen"):
        len(_cases(folder, "all", "language=fr"))
    (folder / ROWS[0]["report_path"]).unlink()
    with pytest.raises(UserError, match=r"names the report PETCT2017.*which is not there"):
        len(_cases(folder, "all"))
    _table(folder, [{"name": "x", "pet": "y"}])
    with pytest.raises(UserError, match="has no 'ct_path', but name, pet; fix"):
        len(_cases(folder, "all"))


def test_a_volume_that_is_not_there_costs_its_own_case(folder: Path) -> None:
    (folder / ROWS[0]["ct_path"]).unlink()
    case = _cases(folder, "all")[0]
    with pytest.raises(UserError, match="no such array"):
        open_image(case.images[0])


def test_through_the_hub(hub: Hub, folder: Path, tmp_path: Path) -> None:
    volumes = ("PETCT*/*/CT/*", "PETCT*/*/PET/*")
    cases = fetched_cases(hub, "vipet-reportgen", folder, "all", tmp_path / "data", files=volumes)
    assert [case.answer for case in cases] == [case.answer for case in _cases(folder, "all")]
    assert open_image(cases[0].images[0]).modality == "CT"
