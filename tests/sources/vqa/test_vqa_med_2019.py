"""VQA-Med 2019, by the rules of its task."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import CaseList, open_cases
from medgym.errors import UserError
from medgym.imaging.study import open_image
from medgym.scorer import grade
from medgym.sources.vqa.vqa_med_2019 import forms
from tests.serving.hub import Hub, fetched_cases

TRAIN = "synpic1|what plane is this?|axial\r\nsynpic1|is it normal?|yes\nsynpic2|what|a#b|c\n"
TEST = """synpic3|organ|what organ system is pictured here?|lung, mediastinum, pleura#spine
synpic4|abnormality|what is abnormal?|(angioinvasive aspergillosis with) septic cerebral emboli
synpic5|abnormality|is this normal?|no
synpic5|modality|what is it?|
"""


@pytest.fixture(params=["as published", "unpacked"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, picture: Any) -> Path:
    folder = tmp_path / "vqa-med-2019"
    training = "ImageClef-2019-VQA-Med-Training"
    files = {
        f"{training}/All_QA_Pairs_train.txt": TRAIN.encode(),
        f"{training}/Train_images/synpic1.jpg": picture(60, "JPEG"),
    }
    images = {f"VQAMed2019_Test_Images/synpic{n}.jpg": picture(n * 20, "JPEG") for n in (3, 4, 5)}
    if request.param == "unpacked":
        for name, data in files.items():
            written(folder / name, data)
        for name, data in images.items():
            written(folder / "VQAMed2019Test" / name, data)
        questions = folder / "VQAMed2019Test"
    else:
        archived(folder / f"{training}.zip", files)
        archived(folder / "VQAMed2019_Test_Images.zip", images)
        questions = folder
    written(questions / "VQAMed2019_Test_Questions_w_Ref_Answers.txt", TEST.encode())
    return tmp_path


def written(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def archived(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def opened(data: Path, split: str = "test") -> CaseList:
    return open_cases(f"vqa-med-2019,data={data},counts=any:{split}")


def test_training_pairs_are_read_with_their_images(folder: Path) -> None:
    cases = opened(folder, "train")
    assert [(case.answer, case.answer_type) for case in cases] == [
        ("axial", "open"),
        ("yes", "closed"),
        ("a#b|c", "open"),  # only in test answers has # a meaning
    ]
    assert cases[0].id == "vqa-med-2019/train/00000"
    assert [case.group for case in cases] == ["synpic1", "synpic1", "synpic2"]
    assert open_image(cases[1].images[0]).pixels[0, 0] == 60


def test_each_alternative_and_each_optional_part_of_a_test_answer_is_accepted(
    folder: Path,
) -> None:
    cases = opened(folder)
    assert (cases[0].answer, cases[0].accepted) == ("lung, mediastinum, pleura", ("spine",))
    assert cases[1].answer == "(angioinvasive aspergillosis with) septic cerebral emboli"
    assert cases[1].accepted == (
        "angioinvasive aspergillosis with septic cerebral emboli",
        "septic cerebral emboli",
    )
    assert cases[2].answer_type == "closed"
    assert open_image(cases[1].images[0]).pixels[0, 0] == 80


def test_no_case_tells_the_category_of_its_question(folder: Path) -> None:
    texts = [case.model_dump_json(exclude={"question"}) for case in opened(folder)]
    assert not any("organ" in text or "abnormality" in text for text in texts)


def test_a_blank_answer_is_dropped_by_its_line(folder: Path) -> None:
    assert list(opened(folder).dropped) == [
        ("line 4 of VQAMed2019_Test_Questions_w_Ref_Answers.txt", "the answer is blank")
    ]


def test_other_counts_than_the_published_ones_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"4 rows \(expected 500\); 3 images.*2 abnormality rows"):
        open_cases(f"vqa-med-2019,data={folder}:test")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("a#b", ("a", "b")),
        ("a # b#", ("a", "b")),
        ("ct w/contrast (iv)", ("ct w/contrast (iv)", "ct w/contrast iv", "ct w/contrast")),
        ("yes", ("yes",)),
        ("", ("",)),
    ],
)
def test_the_forms_of_an_answer(answer: str, right: tuple[str, ...]) -> None:
    assert forms(answer) == right


def test_a_line_of_another_form_is_named(folder: Path) -> None:
    path = next(folder.rglob("VQAMed2019_Test_Questions_w_Ref_Answers.txt"))
    path.write_text("synpic1|organ|what?\n")
    with pytest.raises(UserError, match=r"line 1 of .* has 3 cells, and not 4"):
        opened(folder)


@pytest.mark.parametrize("folder", ["as published"], indirect=True)
def test_zips_and_questions_are_fetched_by_address(hub: Hub, folder: Path, tmp_path: Path) -> None:
    copy = folder / "vqa-med-2019"
    archived(
        copy / "ImageClef-2019-VQA-Med-Validation.zip",
        {"All_QA_Pairs_val.txt": b"synpic9|what plane?|coronal\n"},
    )
    cases = fetched_cases(hub, "vqa-med-2019", copy, "test", tmp_path / "fetched")
    assert open_image(cases[0].images[0]).pixels[0, 0] == 60
    fetched = tmp_path / "fetched"
    assert opened(fetched, "validation")[0].images[0].member == "Val_images/synpic9.jpg"


@pytest.mark.parametrize(
    ("index", "reply", "right"),
    [
        (0, "spine", True),
        (0, "lung, mediastinum, pleura", True),
        (0, "lung", False),
        (1, "Septic cerebral emboli.", True),
        (1, "cerebral emboli", False),
        (2, "normal", False),
    ],
)
def test_each_form_is_scored_as_right(folder: Path, index: int, reply: str, right: bool) -> None:
    assert grade(opened(folder)[index], reply).right is right


def test_a_copy_without_the_types_that_were_counted_is_refused(folder: Path) -> None:
    (path,) = folder.rglob("VQAMed2019_Test_Questions_w_Ref_Answers.txt")
    path.write_text("".join(f"synpic{n}||what|b\n" for n in range(500)))
    with pytest.raises(UserError, match=r"0 abnormality rows \(expected 125\)"):
        open_cases(f"vqa-med-2019,data={folder}:test")
