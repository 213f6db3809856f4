"""TemMed-Bench: prior and current images, the selected questions, three pairs, reports."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import medgym
from medgym.errors import UserError
from medgym.imaging.study import open_image
from medgym.scorer import grade
from tests.serving.hub import Hub, fetched_cases

PAIRS = [
    {
        "image_path": "train/patient00007/study2/view1_frontal.jpg",
        "historical_image_path": "train/patient00007/study1/view1_frontal.jpg",
        "VQA_Final": [
            {"VQA_question": "Has the effusion grown?", "VQA_answer": "Yes"},
            {"VQA_question": "Is there a new tube?", "VQA_answer": "No"},
        ],
        "reference_images": ["train/patient00008/study2/view1_frontal.png"],
        "hist_reference_images": ["train/patient00008/study1/view1_frontal.png"],
        "reference_condition_changes_reports": ["SECRET of the neighbour."],
    },
    {
        "image_path": "train/jpg set/patient00009/100% a..b.jpg",
        "historical_image_path": "train/jpg set/patient00009/#1.png",
        "VQA_Final": [{"VQA_question": "Is it stable?", "VQA_answer": "Maybe"}],
    },
    {
        "image_path": "../../etc/passwd.jpg",
        "historical_image_path": "train/patient00011/study1/view1_frontal.jpg",
        "VQA_Final": [{"VQA_question": "Is it stable?", "VQA_answer": "Yes"}],
    },
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "temmed-bench"
    _write(made, "TestSet_VQA_ReportGeneration.json", PAIRS)
    _write(made, "TestSet_SelectedVQA_2000.json", [{"img_id": 0, "question_id": 1}])
    _write(
        made,
        "TestSet_ImagePairSelection.json",
        [
            {
                "right_option": "B",
                "condition_change": "The effusion has grown.",
                "option": {"A": 1, "B": 0, "C": 1},
                "Retrieval_TrainSet_now_idx": 3,
            },
            {
                "right_option": "AB",
                "condition_change": "Stable.",
                "option": {"A": 1, "B": 0, "C": 1},
            },
        ],
    )
    for number, pair in enumerate(PAIRS[:2]):
        for key in ("image_path", "historical_image_path"):
            path = made / "PNG" / str(pair[key]).removesuffix(".jpg").removesuffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = 50 * number + (20 if key == "image_path" else 10)
            Image.new("L", (8, 6), grey).save(f"{path}.png")
    return made


def _write(folder: Path, name: str, rows: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(rows), encoding="utf-8")


def _cases(folder: Path, split: str) -> medgym.CaseList:
    return medgym.open_cases(f"temmed-bench,counts=any,data={folder}:{split}")


def test_the_last_visit_comes_first(folder: Path) -> None:
    first, second = _cases(folder, "vqa")
    assert [image.role for image in first.images] == ["prior", "current"]
    assert [int(open_image(image).pixels[0, 0]) for image in first.images] == [10, 20]
    assert first.answer_type == "closed"
    assert first.group == "patient00007"
    assert (first.id, second.id) == ("temmed-bench/vqa/0000-00", "temmed-bench/vqa/0000-01")
    assert grade(first, "yes").right
    assert not grade(second, "yes").right


def test_what_is_for_retrieval_is_never_shown(folder: Path) -> None:
    for split in ("vqa", "vqa-2000", "pairs"):
        for case in _cases(folder, split):
            assert "SECRET" not in case.model_dump_json()
            assert "patient00008" not in case.model_dump_json()


def test_rows_that_cannot_be_scored_are_counted(folder: Path) -> None:
    assert list(_cases(folder, "vqa").dropped) == [
        (
            "question 0 of entry 1 of TestSet_VQA_ReportGeneration.json",
            "the answer 'Maybe' is neither Yes nor No",
        ),
        (
            "question 0 of entry 2 of TestSet_VQA_ReportGeneration.json",
            "image_path '../../etc/passwd.jpg' names no file in PNG",
        ),
    ]


def test_the_selected_questions(folder: Path) -> None:
    (case,) = _cases(folder, "vqa-2000")
    assert case.question.endswith("Is there a new tube? Answer with Yes or No.")
    with pytest.raises(UserError, match=r"has 1 rows \(expected 2,000\)"):
        len(medgym.open_cases(f"temmed-bench,data={folder}:vqa-2000"))
    _write(folder, "TestSet_SelectedVQA_2000.json", [{"img_id": 0, "question_id": 5}])
    with pytest.raises(UserError, match="names the question 5 of pair 0, which"):
        len(_cases(folder, "vqa-2000"))


def test_only_the_end_of_a_name_is_replaced(folder: Path) -> None:
    (case,) = _cases(folder, "pairs")
    assert [image.role for image in case.images] == ["prior", "current"] * 3
    assert [int(open_image(image).pixels[0, 0]) for image in case.images] == [
        60,
        70,
        10,
        20,
        60,
        70,
    ]
    assert (case.options, case.answer) == (("pair A", "pair B", "pair C"), "pair B")
    assert grade(case, "B").right
    assert not grade(case, "A").right
    assert case.group == "patient00007+patient00009"


def test_reports_need_those_of_chexpert_plus(folder: Path) -> None:
    with pytest.raises(UserError, match=r"has no TestSet_VQA_ReportGeneration_Final.json, and"):
        len(_cases(folder, "report"))
    final = [dict(PAIRS[0], condition_changes_report="Larger effusion."), PAIRS[1]]
    _write(folder, "TestSet_VQA_ReportGeneration_Final.json", final)
    cases = _cases(folder, "report")
    (case,) = cases
    assert (case.answer_type, case.answer) == ("report", "Larger effusion.")
    assert [why for _, why in cases.dropped] == ["the report is blank"]


def test_the_corpus_is_for_training(folder: Path) -> None:
    rows = [dict(PAIRS[0], condition_changes_report="No change.")]
    _write(folder, "TrainSet_KnowledgeCorpus_Final.json", rows)
    (case,) = _cases(folder, "train")
    assert case.answer == "No change."
    assert case.split == "train"


def test_every_result_says_that_the_splits_are_one_test_set(folder: Path) -> None:
    assert any("same test pairs" in note for note in _cases(folder, "vqa").notes)


def test_a_copy_without_images_or_keys(folder: Path, tmp_path: Path) -> None:
    (folder / "PNG").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"has no PNG folder.*Stanford AIMI"):
        len(_cases(folder, "vqa"))
    (tmp_path / "elsewhere").rename(folder / "PNG")
    _write(folder, "TestSet_VQA_ReportGeneration.json", [{"image": "a.png"}])
    with pytest.raises(UserError, match=r"entry 0 of .* has no 'image_path', but image; fix"):
        len(_cases(folder, "vqa"))
    (folder / "TestSet_VQA_ReportGeneration.json").write_text('[{"image_path": ')
    with pytest.raises(UserError, match="is no whole JSON file"):
        len(_cases(folder, "vqa"))


def test_through_the_hub(hub: Hub, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data" / "temmed-bench"
    copy.mkdir(parents=True)
    (copy / "PNG").symlink_to(folder / "PNG")
    cases = fetched_cases(hub, "temmed-bench", folder, "vqa", tmp_path / "data")
    assert [case.answer for case in cases] == ["Yes", "No"]
    assert open_image(cases[0].images[1]).pixels[0, 0] == 20


@pytest.mark.parametrize("asked", [None, {"a": 1}])
def test_questions_that_are_no_list_are_named(folder: Path, asked: Any) -> None:
    _write(folder, "TestSet_VQA_ReportGeneration.json", [PAIRS[0] | {"VQA_Final": asked}])
    with pytest.raises(UserError, match=r"entry 0 of .* has no list as 'VQA_Final'"):
        medgym.open_cases(f"temmed-bench,counts=any,data={folder}:vqa")


def test_where_no_row_makes_a_case_the_first_is_named(folder: Path) -> None:
    blank = PAIRS[0] | {"image_path": " /etc/passwd.jpg"}
    _write(folder, "TestSet_VQA_ReportGeneration.json", [blank])
    said = r"names no case; rows that make none: 2, such as question 0 of .* ' /etc/passwd.jpg'"
    with pytest.raises(UserError, match=said):
        medgym.open_cases(f"temmed-bench,counts=any,data={folder}:vqa")
