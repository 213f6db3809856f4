"""PathVQA, whose answers have no types."""

from pathlib import Path
from typing import Any

import pytest

from medgym.cases import CaseKey, CaseList, open_cases
from medgym.errors import UserError
from medgym.imaging.study import open_image
from tests.serving.hub import Hub, fetched_cases

ROWS = [
    {"image": 10, "question": "what is present?", "answer": "gastrointestinal"},
    {"image": 10, "question": "is it present?", "answer": "yes"},
    {"image": 20, "question": "how many are there?", "answer": "2"},
    {"image": 20, "question": "what is missing?", "answer": "nan"},
    {"image": 30, "question": "what is it?", "answer": None},
]


@pytest.fixture
def folder(tmp_path: Path, parquet: Any) -> Path:
    for split, shards in (("train", 2), ("validation", 1), ("test", 2)):
        for shard in range(shards):
            name = f"data/{split}-0000{shard}-of-0000{shards}-cbfe947a3418595c.parquet"
            parquet(tmp_path / name, ROWS[3 * shard : 3 * shard + 3] if shards > 1 else ROWS)
    return tmp_path


def opened(data: Path, split: str = "test") -> CaseList:
    return open_cases(f"path-vqa,data={data},counts=any:{split}")


def test_shards_are_read_in_order_and_images_from_their_own(folder: Path) -> None:
    cases = opened(folder)
    assert [case.answer for case in cases] == ["gastrointestinal", "yes", "2", "nan"]
    assert [open_image(case.images[0]).pixels[0, 0] for case in cases] == [10, 10, 20, 20]
    assert [case.id for case in cases][-1] == "path-vqa/test/00003"


def test_only_yes_and_no_are_closed(folder: Path) -> None:
    types = [case.answer_type for case in opened(folder)]
    assert types == ["open", "closed", "number", "open"]


def test_images_are_grouped_by_what_they_hold(folder: Path) -> None:
    groups = [case.group for case in opened(folder)]
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert groups == [case.group for case in opened(folder, "validation")]


def test_a_missing_answer_is_dropped_and_counted(folder: Path) -> None:
    assert list(opened(folder).dropped) == [
        ("row 1 of test-00001-of-00002-cbfe947a3418595c.parquet", "the answer is blank")
    ]


def test_the_counts_of_an_old_commit_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"5 rows \(expected 6,719\).*1 yes/no rows"):
        open_cases(f"path-vqa,data={folder}:test")


def test_a_split_that_was_not_fetched_is_named(folder: Path) -> None:
    for path in (folder / "data").glob("test-*"):
        path.unlink()
    with pytest.raises(UserError, match=r"has no data/test-\*.parquet.*medgym cases get path-vqa"):
        opened(folder)


def test_half_a_file_is_named(folder: Path) -> None:
    path = next((folder / "data").glob("validation-*"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"validation-.* is no whole Parquet file"):
        opened(folder, "validation")


def test_all_shards_are_fetched(hub: Hub, folder: Path, tmp_path: Path) -> None:
    cases = fetched_cases(hub, "path-vqa", folder, "test", tmp_path / "fetched")
    assert [open_image(case.images[0]).pixels[0, 0] for case in cases] == [10, 10, 20, 20]


def test_keys_are_those_of_the_cases(folder: Path) -> None:
    cases = opened(folder)
    assert list(cases.case_keys()) == [CaseKey(c.id, c.source, c.group) for c in cases]
