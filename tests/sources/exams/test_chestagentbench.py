"""ChestAgentBench, in the published schema."""

from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.errors import UserError
from medgym.sources.exams.chestagentbench import cut_options
from tests.serving.hub import Hub, fetched_cases
from tests.sources.exams import fixtures

SIX = "A) one  \nB) two\n\nC) three (A) of B)\nD) four\nE) five\nF) six"


def _row(number: int, images: Any, **changed: Any) -> dict[str, Any]:
    return {
        "question_id": f"10098_{number}",
        "full_question_id": f"10098_{number}_full",
        "case_id": "10098",
        "question": f"What does Figure 1a show?  \n\n{SIX}",
        "answer": "C",
        "explanation": "SECRET",
        "images": images,
        "image_source_urls": ["https://www.eurorad.org/SECRET.jpg"],
        "categories": "detection,diagnosis",
        "sections": "findings",
        "type": "multiple choice (A/B/C/D/E/F)",
    } | changed


A, B = "figures/10098/figure_1a.jpg", "figures/10098/figure_2.jpg"
ROWS = [
    _row(0, A),
    _row(1, [A, B]),
    _row(2, [[A], [B]]),
    _row(3, [A], question="What is it? Yes or no?"),
    _row(4, [A], answer="G"),
    _row(5, []),
    _row(6, "figures/../../secret.jpg"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fixtures.lines(tmp_path / "metadata.jsonl", ROWS)
    members = {A: fixtures.encoded(1, "JPEG"), B: fixtures.encoded(99, "JPEG")}
    fixtures.packed(tmp_path / "figures.zip", members)
    return tmp_path


def test_options_and_images_are_read_in_each_of_their_forms(folder: Path) -> None:
    cases = open_cases(f"chestagentbench,counts=any,data={folder}:test")
    assert [len(case.images) for case in cases] == [1, 2, 2]
    case = cases[2]
    assert case.question == "What does Figure 1a show?"
    assert case.options == ("one", "two", "three (A) of B)", "four", "five", "six")
    assert (case.answer, case.group) == ("three (A) of B)", "10098")
    assert case.context == "In the question, image 0 is figure 1a, image 1 is figure 2."
    assert [fixtures.grey(ref) for ref in case.images] == [1, 99]
    assert "SECRET" not in case.model_dump_json()
    assert [*cases.dropped] == [
        ("row 4 of metadata.jsonl", "its options cannot be told from its question"),
        ("row 5 of metadata.jsonl", "its answer is 'G', and it has 6 options"),
        ("row 6 of metadata.jsonl", "it has no image"),
        (
            "row 7 of metadata.jsonl",
            "the image '../../secret.jpg' lies outside the folder of images",
        ),
    ]


def test_another_count_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"has 7 rows \(expected 2,500\); fix: fetch revision 921e"):
        open_cases(f"chestagentbench,data={folder}:test")


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        ("Which?\nA. one B) is\nB. two", "Which?", ("one B) is", "two")),
        ("Which? A) one B) two C) three", "Which?", ("one", "two", "three")),
        ("(A) is a mark.\nWhich?\n(A) one\n(B) two", "(A) is a mark.\nWhich?", ("one", "two")),
        ("Which?\nA) one\nC) three", "Which?\nA) one\nC) three", ()),
        ("Which?\nA) one\nB) ", "Which?\nA) one\nB) ", ()),
    ],
)
def test_options_are_cut_where_they_can_be_told(
    text: str, question: str, options: tuple[str, ...]
) -> None:
    assert cut_options(text) == (question, options)


def test_a_fetched_copy_is_read(hub: Hub, folder: Path) -> None:
    cases = fetched_cases(hub, "chestagentbench", folder, "test", folder / "data")
    assert [len(case.images) for case in cases] == [1, 2, 2]
    assert fixtures.grey(cases[1].images[1]) == 99


def test_letters_within_a_sentence_are_no_options() -> None:
    text = "What do (A) the arrow and (B) the circle show?"
    assert cut_options(text) == (text, ())
    assert cut_options("Which? A) a B) b") == ("Which?", ("a", "b"))
