"""MedXpertQA's multimodal part, in the published schema."""

from pathlib import Path

import pytest

from medgym.cases import open_cases
from medgym.errors import UserError
from tests.serving.hub import Hub, fetched_cases
from tests.sources.exams import fixtures

OPTIONS = {"B": "two", "A": "one", "C": "three", "E": "five", "D": "four"}
ROWS = [
    {
        "id": f"MM-{number}",
        "question": "Answer Choices: are they\nshown?\nAnswer Choices: (A) one (B) two (E) five",
        "options": OPTIONS,
        "label": label,
        "images": [f"MM-{number}-a.jpeg", "MM-0-b.JPG"],
        "medical_task": "Diagnosis",
        "body_system": "Cardiovascular",
        "question_type": "Reasoning",
    }
    for number, label in enumerate(["B", "F"])
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fixtures.lines(tmp_path / "MM" / "test.jsonl", ROWS)
    fixtures.lines(tmp_path / "MM" / "dev.jsonl", ROWS[:1] * 5)
    names = {"images/MM-0-a.jpeg": 1, "images/MM-1-a.jpeg": 2, "images/MM-0-b.JPG": 3}
    members = {name: fixtures.encoded(value) for name, value in names.items()}
    fixtures.packed(tmp_path / "images.zip", members)
    return tmp_path


def test_options_are_shown_once(folder: Path) -> None:
    cases = open_cases(f"medxpertqa-mm,counts=any,data={folder}:test")
    (case,) = cases
    assert case.id == "medxpertqa-mm/test/MM-0"
    assert case.question == "Answer Choices: are they\nshown?"
    assert case.options == ("one", "two", "three", "four", "five")
    assert case.answer == "two"
    assert [fixtures.grey(ref) for ref in case.images] == [1, 3]
    place = "row 2 of test.jsonl"
    assert [*cases.dropped] == [(place, "its label 'F' is none of its options")]


def test_an_unpacked_folder_is_read_as_its_zip(folder: Path) -> None:
    unpacked = folder / "images" / "images"
    unpacked.mkdir(parents=True)
    for name in ("MM-0-a.jpeg", "MM-0-b.JPG"):
        (unpacked / name).write_bytes(fixtures.encoded(9))
    (case,) = open_cases(f"medxpertqa-mm,counts=any,data={folder}:test")
    assert [fixtures.grey(ref) for ref in case.images] == [9, 9]


def test_counts_and_fields_are_held(folder: Path) -> None:
    with pytest.raises(UserError, match=r"2 rows \(expected 2,000\); 3 images \(expected 2,852\)"):
        open_cases(f"medxpertqa-mm,data={folder}:test")
    fixtures.lines(folder / "MM" / "test.jsonl", [{"id": "MM-0", "label": ["A"]}])
    with pytest.raises(
        UserError, match=r"line 1 of .*test.jsonl has a list as 'label', and a text"
    ):
        open_cases(f"medxpertqa-mm,data={folder}:test")
    (folder / "images.zip").unlink()
    with pytest.raises(UserError, match=r"has no images or images.zip, so it is no whole copy"):
        open_cases(f"medxpertqa-mm,data={folder}:test")


def test_a_fetched_copy_is_read(hub: Hub, folder: Path) -> None:
    (case,) = fetched_cases(hub, "medxpertqa-mm", folder, "test", folder / "data")
    assert [fixtures.grey(ref) for ref in case.images] == [1, 3]


def test_an_image_that_is_named_by_no_text_costs_its_row_alone(folder: Path) -> None:
    rows = [ROWS[0] | {"id": "MM-9", "images": [9, "../MM-9.png"]}, ROWS[0]]
    fixtures.lines(folder / "MM" / "test.jsonl", rows)
    cases = open_cases(f"medxpertqa-mm,counts=any,data={folder}:test")
    assert [case.id for case in cases] == ["medxpertqa-mm/test/MM-0"]
