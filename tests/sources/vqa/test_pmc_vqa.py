"""PMC-VQA, whose choices carry their letters in version 1."""

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import CaseKey, CaseList, open_cases
from medgym.errors import UserError
from medgym.imaging.study import open_image
from tests.serving.hub import Hub, fetched_cases

CHOICES = ["Choice A", "Choice B", "Choice C", "Choice D"]
V1 = ["Figure_path", "Question", "Answer", *CHOICES, "Answer_label"]
V2 = ["index", "Figure_path", "Caption", "Question", *CHOICES, "Answer", "split"]
FIGURE = "PMC1064097_F1.jpg"
LETTERED = [" A:Diffuse", " B:Focal: one ", "C:No uptake", "D:None"]


def write(path: Path, header: Sequence[str], *rows: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def v1(answer: str, label: str, choices: Sequence[str] = LETTERED) -> list[str]:
    return [FIGURE, 'What is the "uptake",\nhere?', answer, *choices, label]


@pytest.fixture
def folder(tmp_path: Path, picture: Any) -> Path:
    rows = [
        v1("Focal: one", "B"),
        v1("None", "D"),
        v1("Diffuse", "B"),
        v1("Something else", "C"),
        v1("Something else", "E"),
        v1("Diffuse", "A", ["A:Diffuse", "B:", "C:x", "D:y"]),
        v1("Diffuse", "A", ["A:Diffuse", "B:Diffuse", "C:x", "D:y"]),
    ]
    write(tmp_path / "train.csv", V1, *rows)
    write(tmp_path / "test.csv", [*V1[:2], "Anwser", *CHOICES, "Anwser_label"], *rows[:2])
    write(tmp_path / "test_clean.csv", V1[:-1], *(row[:-1] for row in rows[:2]))
    v2 = [
        "0",
        "PMC1_Fig4_41.jpg",
        "It is an MRI.",
        "Which?",
        "CT",
        "MRI",
        "A: x",
        "NA",
        "B",
        "test",
    ]
    write(tmp_path / "test_2.csv", V2, v2)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr(f"images/{FIGURE}", picture(70, "JPEG"))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/PMC1_Fig4_41.jpg").write_bytes(picture(80, "JPEG"))
    return tmp_path


def opened(data: Path, options: str = "", split: str = "train") -> CaseList:
    return open_cases(f"pmc-vqa,data={data},counts=any{options}:{split}")


def test_choices_lose_their_letters_and_the_answer_is_one_of_them(folder: Path) -> None:
    case = opened(folder)[0]
    assert case.options == ("Diffuse", "Focal: one", "No uptake", "None")
    assert case.answer == "Focal: one"
    assert case.question == 'What is the "uptake",\nhere?'
    assert case.group == "PMC1064097"
    assert open_image(case.images[0]).pixels[0, 0] == 70


def test_none_is_an_answer_as_any_other(folder: Path) -> None:
    assert opened(folder)[1].answer == "None"


def test_an_answer_that_is_no_choice_or_two_is_dropped_never_the_nearest(folder: Path) -> None:
    cases = opened(folder)
    assert list(cases.dropped) == [
        ("row 2 of train.csv", "the answer 'B Diffuse' is none of its options"),
        ("row 4 of train.csv", "the answer 'E Something else' is none of its options"),
        ("row 5 of train.csv", "an option is blank"),
    ]
    assert {case.id.rpartition("-")[2]: case.answer for case in cases} == {
        "000000": "Focal: one",
        "000001": "None",
        "000003": "No uptake",  # its letter says so
        "000006": "Diffuse",
    }


def test_both_spellings_of_the_answer_are_read(folder: Path) -> None:
    assert [case.answer for case in opened(folder, split="test")] == ["Focal: one", "None"]


def test_the_clean_test_set_may_have_no_letters(folder: Path) -> None:
    cases = opened(folder, ",version=clean", "test")
    assert [case.answer for case in cases] == ["Focal: one", "None"]
    with pytest.raises(UserError, match=r"version=clean has no split train"):
        opened(folder, ",version=clean")


def test_version_2_names_its_answer_by_the_letter_and_no_caption_is_shown(folder: Path) -> None:
    case = opened(folder, ",version=v2", "test")[0]
    assert (case.answer, case.options) == ("MRI", ("CT", "MRI", "A: x", "NA"))
    assert case.id == "pmc-vqa/test/v2-000000"
    assert "It is" not in case.model_dump_json()
    assert open_image(case.images[0]).pixels[0, 0] == 80


def test_other_counts_than_the_known_ones_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"2 rows \(expected 2,000\) \(by its page\)"):
        open_cases(f"pmc-vqa,data={folder},version=clean:test")
    with pytest.raises(UserError, match=r"7 rows \(expected 176,948\) \(inferred\)"):
        open_cases(f"pmc-vqa,data={folder}:train")
    assert len(open_cases(f"pmc-vqa,data={folder}:test")) == 2  # nobody has counted it


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Figure_path,Question\na,b\n", "has no column 'answer'"),
        (",".join(V1) + "\na,b\n", "row 0 of .* has 2 cells, and the header 8"),
        (",".join(V1) + '\na,"b\n', "is no whole CSV file"),
    ],
)
def test_another_file_is_named(folder: Path, text: str, said: str) -> None:
    (folder / "train.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        opened(folder)


def test_a_file_that_is_not_utf_8_is_named(folder: Path) -> None:
    (folder / "train.csv").write_bytes(",".join(V1).encode() + b"\na,\xff\n")
    with pytest.raises(UserError, match=r"train.csv is no whole CSV file"):
        opened(folder)


def test_the_first_version_is_fetched(hub: Hub, folder: Path, tmp_path: Path) -> None:
    cases = fetched_cases(hub, "pmc-vqa", folder, "train", tmp_path / "fetched")
    assert open_image(cases[0].images[0]).pixels[0, 0] == 70
    assert not (tmp_path / "fetched/pmc-vqa/test_2.csv").exists()


def test_keys_are_those_of_the_cases(folder: Path) -> None:
    cases = opened(folder)
    assert list(cases.case_keys()) == [CaseKey(c.id, c.source, c.group) for c in cases]
