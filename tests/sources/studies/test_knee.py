"""3DReasonKnee: each grade of the JSON object that a row asks for is a case."""

import json
from pathlib import Path
from typing import Any

import pytest

import medgym
from medgym.errors import UserError
from medgym.scorer import grade
from medgym.sources.studies import json_list
from medgym.sources.studies.json_list import JsonRows
from medgym.sources.studies.knee import asked_of
from tests.serving.hub import Hub, fetched_cases

IMAGE = "../data/images/9010308/00M/20040915_10243212_1.nii.gz"
BML = (
    "In this DESS MRI, can you diagnose bone-marrow lesions (BMLs) in the patella medial "
    "subregion? Size (Grade 0: None, Grade 3: ≥66% of subregion). Provide your reasoning, and the "
    'scores: {"MOAKS_scores": {"patella medial BML": {"Size of BML (including cyst)": (0-3)}}}'
)
CYST = (
    "In this DESS MRI, detect a medial meniscal cyst, if present. Provide your reasoning, and the "
    "location of any tear. Tear location is encoded as one of the following integers: \n0 = MMA "
    "(Medial Meniscus Anterior), \n1 = MMB, \n2 = MMP, 3 = No tear detected. The output format "
    'should be {"medial_meniscal_cyst": {"presence": 0 | 1, "tear_location": (0-3)}}.'
)


def _row(prompt: str, diagnosis: Any, **more: Any) -> dict[str, Any]:
    row = {"image": IMAGE, "prompt": prompt, "answer": "SECRET reasoning.", **more}
    return row if diagnosis is None else {**row, "final_diagnosis": diagnosis}


ROWS = [
    _row(
        BML,
        {
            "MOAKS_scores": {
                "patella medial BML": {
                    "Size of BML (including cyst)": 2,
                    "Number of BML within subregion": 7,
                }
            },
            "bounding_box": {"x_min": 1, "x_max": 2},
        },
    ),
    _row(CYST, '{"medial_meniscal_cyst": {"presence": 1, "tear_location": 3}}'),
    _row("Describe it.", None, answer="SECRET. Final diagnosis: {'M': {'morphology': 8}}"),
    _row("Describe it.", None),
    _row(CYST, {"ganglion_cyst_presence": {"presence": False}}, image="/data/other.nii.gz"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "3dreasonknee"
    path = made / "data/generate_data/val.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(ROWS, indent=2, ensure_ascii=False), encoding="utf-8")
    return made


def _cases(folder: Path) -> medgym.CaseList:
    return medgym.open_cases(f"3dreasonknee,counts=any,data={folder}:val")


def test_each_grade_is_a_case(folder: Path) -> None:
    size, present, where, form = _cases(folder)
    assert size.options == ("0", "1", "2", "3")
    assert size.answer == "2"
    assert size.question.endswith(
        "Give the grade: patella medial BML: Size of BML (including cyst)."
    )
    assert "≥66% of subregion)." in size.question
    assert (present.answer_type, present.answer) == ("closed", "yes")
    assert (where.options, where.answer) == (("0", "1", "2", "3"), "3")
    assert (len(form.options), form.answer) == (9, "8")
    assert grade(size, "2").right
    assert grade(size, "C").right
    assert not grade(size, "3").right


def test_the_wanted_form_is_cut_off_and_the_legend_stays(folder: Path) -> None:
    size, present, where, _ = _cases(folder)
    for case in (size, present, where):
        assert "{" not in case.question
        assert "reasoning" not in case.question
    assert "0 = MMA (Medial Meniscus Anterior), 1 = MMB, 2 = MMP, 3 = No tear" in where.question
    assert "MMB" not in present.question
    assert asked_of("<image>\n<|image_pad|>Just a question?", "grade") == "Just a question?"


def test_the_reasoning_is_shown_nowhere(folder: Path) -> None:
    assert all("SECRET" not in case.model_dump_json() for case in _cases(folder))


def test_a_patient_is_one_group_and_a_case_has_its_knee(folder: Path) -> None:
    case = _cases(folder)[0]
    assert case.group == "9010308"
    assert case.id == (
        "3dreasonknee/val/9010308-00M-20040915_10243212_1-000000-"
        "patella-medial-bml-size-of-bml-including-cyst"
    )
    (image,) = case.images
    assert image.uri.endswith("/data/images/9010308/00M/20040915_10243212_1.nii.gz")
    assert (image.plane, image.index) == ("sagittal", 80)


def test_what_cannot_be_scored_is_counted(folder: Path) -> None:
    assert list(_cases(folder).dropped) == [
        (
            "row 0 of val.json",
            "the grade '7' of patella medial BML: Number of BML within subregion is none of 0 to 3",
        ),
        ("row 3 of val.json", "its grades cannot be read"),
        (
            "row 4 of val.json",
            "the image '/data/other.nii.gz' is no data/images/PATIENT/VISIT/FILE",
        ),
    ]


def test_counts_are_those_of_rows_and_images(folder: Path) -> None:
    said = r"5 rows \(expected 51,894\); 2 images \(expected 837\) \(inferred\)"
    with pytest.raises(UserError, match=said):
        len(medgym.open_cases(f"3dreasonknee,data={folder}:val"))


def test_a_list_longer_than_what_is_read_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_list, "_CHUNK", 7)
    seen: list[Any] = []
    rows = JsonRows(folder / "data/generate_data/val.json", seen.append)
    assert seen == ROWS
    assert [rows[4], rows[0], *rows[1:3]] == [ROWS[4], ROWS[0], ROWS[1], ROWS[2]]


@pytest.mark.parametrize(
    "text", ['[{"image": "a"', '{"a": 1}', "[1]", '[{"image": "a", "prompt": ""}] x', "", '[{"a"']
)
def test_a_file_that_is_no_whole_list(folder: Path, text: str) -> None:
    (folder / "data/generate_data/val.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="is no whole JSON list of objects"):
        len(_cases(folder))


def test_a_row_without_its_keys(folder: Path) -> None:
    path = folder / "data/generate_data/val.json"
    path.write_text(json.dumps([{"image": IMAGE, "question": "?"}]), encoding="utf-8")
    with pytest.raises(UserError, match=r"row 0 of .* has no 'prompt', but image, question"):
        len(_cases(folder))


def test_through_the_hub(hub: Hub, folder: Path, tmp_path: Path) -> None:
    chosen = ("data/generate_data/val.json",)
    cases = fetched_cases(hub, "3dreasonknee", folder, "val", tmp_path / "data", files=chosen)
    assert [case.answer for case in cases] == ["2", "yes", "3", "8"]
