"""MMMU's medical subjects, in the published schema."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from medgym.cases import open_cases
from medgym.errors import UserError
from medgym.scorer import grade
from medgym.sources.exams.mmmu_med import SUBJECTS, literal_list
from tests.serving.hub import Hub, fetched_cases
from tests.sources.exams import fixtures

CHOICE, OPEN = "multiple-choice", "open"


def _row(name: str, **changed: Any) -> dict[str, Any]:
    row = {
        "id": name,
        "question": "<image 1> What is shown?",
        "options": "['None', 'a cell']",
        "explanation": "It is a cell, so B.",
        "answer": "B",
        "question_type": CHOICE,
        "subfield": "Histology",
        "topic_difficulty": "Easy",
        "img_type": "['Microscopic']",
        "images": [10],
    }
    return row | changed


ROWS = (
    _row("validation_Basic_Medical_Science_1"),
    _row(
        "validation_Basic_Medical_Science_2",
        question="Compare <image 1> and <image 3>.",
        options="['<image 1>', \"<image 3>, isn't it\", 'neither']",
        images=[20, None, 21],
    ),
    _row("validation_Basic_Medical_Science_10", options="[]", answer="C", question_type=OPEN),
    _row("validation_Basic_Medical_Science_11", options="[]", answer="['24/7', '3.429']"),
    _row("validation_Basic_Medical_Science_12", answer="E"),
    _row("validation_Basic_Medical_Science_13", options="['a', "),
)
ROWS[3]["question_type"] = OPEN


def _write(folder: Path, split: str, subject: str, rows: tuple[dict[str, Any], ...]) -> None:
    texts = [name for name in rows[0] if name != "images"]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in texts}
    for place in range(7):
        values = [row["images"][place] if place < len(row["images"]) else None for row in rows]
        cells = [None if value is None else fixtures.cell(value) for value in values]
        columns[f"image_{place + 1}"] = pa.array(cells, fixtures.IMAGE)
    fixtures.parquet(folder / subject / f"{split}-00000-of-00001.parquet", columns)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data 100%") / "mmmu-med"
    for subject in SUBJECTS:
        _write(folder, "validation", subject, ROWS)
        _write(folder, "dev", subject, (_row(f"dev_{subject}_1"),))
        _write(folder, "test", subject, (_row(f"test_{subject}_1", answer="?"),))
    return folder


def test_items_are_read_as_they_are_meant(folder: Path) -> None:
    spec = f"mmmu-med,counts=any,subject=Pharmacy,data={folder}:validation"
    cases = open_cases(spec)
    first, two, letter, several = cases
    assert (first.options, first.answer) == (("None", "a cell"), "a cell")
    assert first.id == "mmmu-med/validation/validation_Basic_Medical_Science_1"
    assert (first.question, first.answer_type) == ("[image 0] What is shown?", "choice")
    assert "so B" not in first.model_dump_json()
    assert fixtures.grey(first.images[0]) == 10

    assert two.question == "Compare [image 0] and [image 1]."
    assert two.options == ("[image 0]", "[image 1], isn't it", "neither")
    assert [fixtures.grey(ref) for ref in two.images] == [20, 21]

    assert (letter.options, letter.answer_type) == ((), "open")
    assert grade(letter, "C").right
    assert not grade(letter, "a cell").right
    assert (several.answer, several.accepted) == ("24/7", ("3.429",))
    assert grade(several, "3.429").right

    reasons = [reason for _, reason in cases.dropped]
    assert reasons == [
        "its answer is 'E', and it has 2 options",
        "its options are no list: \"['a', \"",
    ]
    assert cases.dropped[0][0].startswith("row 5 of ")


def test_answers_of_test_come_from_a_key(folder: Path, tmp_path: Path) -> None:
    data = f"counts=any,data={folder}"
    with pytest.raises(UserError, match=r"not published with it; fix: write mmmu-med,key=FILE"):
        open_cases(f"mmmu-med,{data}:test")
    key = tmp_path / "key.json"
    form = {"question_type": CHOICE, "ground_truth": "A"}
    key.write_text(json.dumps({f"test_{SUBJECTS[0]}_1": "B", f"test_{SUBJECTS[1]}_1": form}))
    cases = open_cases(f"mmmu-med,{data},key={key}:test")
    assert [case.answer for case in cases] == ["a cell", "None"]
    assert [reason for _, reason in cases.dropped] == ["its answer is not published"] * 3
    key.write_text('{"x": 3}')
    with pytest.raises(UserError, match=r"'x' of .*key.json is no answer; fix: "):
        open_cases(f"mmmu-med,{data},key={key}:test")


def test_another_count_is_refused(folder: Path) -> None:
    with pytest.raises(UserError) as failed:
        open_cases(f"mmmu-med,data={folder}:validation")
    assert "has 30 rows (expected 150); 6 Basic_Medical_Science rows (expected 30)" in str(
        failed.value
    )
    with pytest.raises(UserError, match=r"6 rows \(expected 30\).* 4 multiple-choice .*27\)"):
        open_cases(f"mmmu-med,data={folder},subject=Pharmacy:validation")


@pytest.mark.parametrize("text", ["__import__('os')", "{'a': 1}", "(" * 200, "", "nan"])
def test_options_are_never_evaluated(text: str) -> None:
    assert literal_list(text) is None


def test_a_fetched_copy_is_read(hub: Hub, folder: Path, tmp_path: Path) -> None:
    cases = fetched_cases(hub, "mmmu-med", folder, "validation", tmp_path, "subject=Public_Health")
    assert len(cases) == 4
    assert fixtures.grey(cases[0].images[0]) == 10
    assert not hub.gets("Public_Health/test-00000-of-00001.parquet")
