"""MicroVQA, in the published schema."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from medgym.cases import open_cases
from medgym.errors import UserError
from medgym.sources.exams.microvqa import CANARY
from tests.serving.hub import Hub, fetched_cases
from tests.sources.exams import fixtures


def _columns(first: int, **changed: Any) -> dict[str, Any]:
    images = [[fixtures.cell(first), fixtures.cell(first + 1)], [fixtures.cell(first + 2)]]
    return {
        "key_question": [first, first + 1],
        "key_image": [7, 7],
        "images_list": pa.array(images, pa.list_(fixtures.IMAGE)),
        "question": ["What grows here?", "What moves?"],
        "choices": [["mould", "yeast", "mould"], ["cilia", "flagella"]],
        "correct_index": [2, 0],
        "question_1": ["EARLIER", "EARLIER"],
        "choices_1": [["EARLIER"], ["EARLIER"]],
        "correct_index_1": [0, 0],
        "image_caption": ["CAPTION", "CAPTION"],
        "task": [1, 2],
    } | changed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part in (0, 1):
        name = f"data/train-0000{part}-of-00005.parquet"
        fixtures.parquet(tmp_path / name, _columns(10 * part))
    return tmp_path


def test_the_final_stage_of_the_questions_is_read(folder: Path) -> None:
    cases = open_cases(f"microvqa,counts=any,data={folder}:train")
    first, second, third, _ = cases
    assert (first.options, first.answer) == (("mould", "yeast", "mould"), "mould")
    assert [fixtures.grey(ref) for ref in first.images] == [0, 1]
    assert [fixtures.grey(ref) for ref in second.images] == [2]
    assert fixtures.grey(third.images[1]) == 11
    assert {case.group for case in cases} == {"7"}
    said = "".join(case.model_dump_json() for case in cases)
    assert "EARLIER" not in said
    assert "CAPTION" not in said
    assert CANARY in cases.notes


def test_an_index_beyond_the_choices_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "data" / "train-00000-of-00005.parquet"
    fixtures.parquet(path, _columns(0, correct_index=[3, -1]))
    with pytest.raises(UserError, match="names no case"):
        open_cases(f"microvqa,counts=any,data={tmp_path}:train")


def test_a_missing_part_and_a_missing_column_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"has 4 rows \(expected 1,042\)"):
        open_cases(f"microvqa,data={folder}:train")
    path = folder / "data" / "train-00001-of-00005.parquet"
    columns = _columns(10)
    del columns["correct_index"]
    fixtures.parquet(path, columns)
    with pytest.raises(UserError, match=r"00001-of-00005.parquet has no column 'correct_index'"):
        open_cases(f"microvqa,data={folder}:train")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="is no whole Parquet file"):
        open_cases(f"microvqa,data={folder}:train")


def test_a_fetched_copy_is_read(hub: Hub, folder: Path) -> None:
    cases = fetched_cases(hub, "microvqa", folder, "train", folder / "copy")
    assert [fixtures.grey(case.images[0]) for case in cases] == [0, 2, 10, 12]
