"""Kvasir-VQA, which has no published split."""

from pathlib import Path
from typing import Any

import pytest

from medgym.cases import CaseKey, CaseList, open_cases
from medgym.errors import UserError
from medgym.imaging.study import open_image
from medgym.sources.vqa.kvasir_vqa import split_of
from tests.serving.hub import Hub, fetched_cases

ANSWERS = ("yes", "pink; red", "2", "none", "", "No.")
IMAGES = 40


@pytest.fixture
def folder(tmp_path: Path, parquet: Any) -> Path:
    rows = [
        {
            "image": image,
            "source": "polyps",
            "question": f"What about {place}?",
            "answer": answer,
            "img_id": f"cl8k2u1q{image}",
        }
        for image in range(IMAGES)
        for place, answer in enumerate(ANSWERS)
    ]
    for shard in range(2):
        parquet(tmp_path / f"data/0000{shard}.parquet", rows[shard::2])
    return tmp_path


def opened(data: Path, split: str) -> CaseList:
    return open_cases(f"kvasir-vqa,data={data},counts=any:{split}")


def test_no_image_is_in_two_splits_and_none_is_lost(folder: Path) -> None:
    groups = {
        split: {case.group for case in opened(folder, split)}
        for split in ("train", "validation", "test")
    }
    assert sum(map(len, groups.values())) == IMAGES == len(set.union(*groups.values()))
    assert len(groups["train"]) > len(groups["test"]) > 0


def test_the_split_of_an_image_never_changes() -> None:
    splits = [split_of(f"image{number}") for number in range(1000)]
    assert {split: splits.count(split) for split in set(splits)} == {
        "train": 791,
        "validation": 110,
        "test": 99,
    }


def test_answers_with_semicolons_are_sets(folder: Path) -> None:
    types = {case.answer: case.answer_type for case in opened(folder, "train")}
    assert types == {
        "yes": "closed",
        "No.": "closed",
        "pink; red": "set",
        "2": "number",
        "none": "open",
    }


def test_images_are_those_of_their_rows(folder: Path) -> None:
    for case in opened(folder, "test"):
        assert case.group == f"cl8k2u1q{open_image(case.images[0]).pixels[0, 0]}"
        assert (case.modality, case.split) == ("ES", "test")


def test_blank_answers_are_dropped_and_counted(folder: Path) -> None:
    dropped = sum(len(opened(folder, split).dropped) for split in ("train", "validation", "test"))
    assert dropped == IMAGES


def test_the_counts_of_the_whole_set_are_held(folder: Path) -> None:
    with pytest.raises(
        UserError, match=r"240 rows \(expected 58,849\); 40 images \(expected 6,500\) \(by its page"
    ):
        open_cases(f"kvasir-vqa,data={folder}:test")


def test_results_say_that_the_split_is_medgyms(folder: Path) -> None:
    assert any("no published split" in note for note in opened(folder, "test").notes)


def test_the_whole_set_is_fetched(hub: Hub, folder: Path, tmp_path: Path) -> None:
    cases = fetched_cases(hub, "kvasir-vqa", folder, "test", tmp_path / "fetched")
    assert [case.id for case in cases] == [case.id for case in opened(folder, "test")]


def test_keys_are_those_of_the_cases(folder: Path) -> None:
    cases = opened(folder, "test")
    assert list(cases.case_keys()) == [CaseKey(c.id, c.source, c.group) for c in cases]
