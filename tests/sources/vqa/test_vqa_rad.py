"""VQA-RAD in its two usual copies."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import CaseKey, CaseList, open_cases
from medgym.errors import UserError
from medgym.imaging.study import open_image
from medgym.sources.vqa.vqa_rad import CARD
from tests.serving.hub import Hub, fetched_cases

HUB = (
    "data/train-00000-of-00001-eb8844602202be60.parquet",
    "data/test-00000-of-00001-e5bc3d208bb4deeb.parquet",
)


def question(image: str, answer: Any, kind: str = "OPEN", **other: Any) -> dict[str, Any]:
    """An object of `trainset.json`."""
    return {
        "qid": 1,
        "phrase_type": "test_freeform",
        "image_name": image,
        "image_organ": "CHEST",
        "question": f"what about {answer}?",
        "question_type": "POS, PRES",
        "answer": answer,
        "answer_type": kind,
        **other,
    }


@pytest.fixture
def published(tmp_path: Path, parquet: Any) -> Path:
    folder = tmp_path / "vqa-rad"
    row = {"image": 10, "question": "is there air?", "answer": "Yes"}
    parquet(folder / HUB[0], [row, row | {"answer": ""}, row | {"image": 30}])
    parquet(
        folder / HUB[1],
        [
            row | {"image": 30},
            row | {"answer": "left"},
            row | {"image": 30, "answer": "4"},
            row | {"answer": "None"},
        ],
    )
    return tmp_path


@pytest.fixture
def annotated(tmp_path: Path, picture: Any) -> Path:
    folder = tmp_path / "vqa-rad" / "data_rad"
    (folder / "images").mkdir(parents=True)
    for name in ("synpic1.jpg", "a 100%.jpg"):
        (folder / "images" / name).write_bytes(picture(9, "JPEG"))
    questions = [
        question("synpic1.jpg", "Yes", "CLOSED "),
        question("synpic1.jpg", "Left", "CLOSED"),
        question("a 100%.jpg", 4, image_organ="ABD"),
        question("a 100%.jpg", " superficial to the patient's skin", image_organ="HEAD"),
        question("synpic1.jpg", "None"),
        question("../other.jpg", "no", "CLOSED"),
    ]
    for split in ("train", "test"):
        (folder / f"{split}set.json").write_text(json.dumps(questions))
    return tmp_path


def opened(data: Path, options: str = "", split: str = "test") -> CaseList:
    return open_cases(f"vqa-rad,data={data},counts=any{options}:{split}")


def test_the_hubs_copy_calls_yes_and_no_closed(published: Path) -> None:
    cases = opened(published)
    assert [(case.answer, case.answer_type) for case in cases] == [
        ("Yes", "closed"),
        ("left", "open"),
        ("4", "number"),
        ("None", "open"),
    ]
    assert cases[0].id == "vqa-rad/test/0000"
    assert [open_image(case.images[0]).pixels[0, 0] for case in cases] == [30, 10, 30, 10]


def test_the_hubs_copy_is_grouped_by_what_images_hold(published: Path) -> None:
    test, train = opened(published), opened(published, split="train")
    assert test[0].group == test[2].group == train[1].group != test[1].group
    assert test[1].group == train[0].group


def test_a_question_without_an_answer_is_dropped_and_counted(published: Path) -> None:
    cases = opened(published, split="train")
    assert len(cases) == 2
    assert list(cases.dropped) == [(f"row 1 of {Path(HUB[0]).name}", "the answer is blank")]


def test_the_annotated_copy_has_closed_answers_that_are_not_yes_or_no(annotated: Path) -> None:
    cases = opened(annotated, ",copy=annotated")
    closed = [case.answer for case in cases if case.answer_type == "closed"]
    assert closed == ["Yes", "Left"]
    assert [answer for answer in closed if answer.lower() in ("yes", "no")] == ["Yes"]


def test_the_annotated_copy_keeps_text_as_text(annotated: Path) -> None:
    cases = opened(annotated, ",copy=annotated")
    assert [(case.answer, case.answer_type) for case in cases[2:5]] == [
        ("4", "number"),
        ("superficial to the patient's skin", "open"),
        ("None", "open"),
    ]
    assert [case.body_part for case in cases[2:4]] == ["ABDOMEN", "HEAD"]
    assert cases[2].group == "a 100%.jpg"
    assert open_image(cases[2].images[0]).pixels.shape == (8, 12)


def test_the_annotated_copy_is_read_from_parquet_too(tmp_path: Path, parquet: Any) -> None:
    row = question("synpic1.jpg", "axial", "CLOSED") | {"image": 5, "image_hash": "a1"}
    parquet(tmp_path / "data/test-00000-of-00001.parquet", [row])
    case = opened(tmp_path, ",copy=annotated")[0]
    assert (case.answer_type, case.group, case.id) == (
        "closed",
        "synpic1.jpg",
        "vqa-rad/test/annotated-0000",
    )
    with pytest.raises(UserError, match=r"annotated copy.*fix: write vqa-rad,copy=annotated:test"):
        opened(tmp_path)


def test_both_copies_may_lie_in_one_folder(
    hub: Hub, published: Path, parquet: Any, tmp_path: Path
) -> None:
    folder, fetched = published / "vqa-rad", tmp_path / "fetched"
    with pytest.raises(UserError, match=r"no annotation, of vqa-rad; fix: write vqa-rad:test"):
        opened(published, ",copy=annotated")
    for split in ("train", "test"):
        row = question("synpic1.jpg", "axial", "CLOSED") | {"image": 5}
        parquet(folder / f"data/{split}-00000-of-00001.parquet", [row])
    cases = fetched_cases(
        hub, "vqa-rad", folder, "test", fetched, files=("data/*-00000-of-00001.parquet",)
    )
    assert len(cases) == 4
    assert len(opened(fetched, ",copy=annotated")) == 1


def test_an_image_name_that_leaves_the_folder_is_no_case(annotated: Path) -> None:
    cases = opened(annotated, ",copy=annotated")
    assert [reason for _, reason in cases.dropped] == [
        "the image '../other.jpg' lies outside the folder of images"
    ]


@pytest.mark.parametrize(
    ("options", "found"),
    [("", r"4 rows \(expected 451\)"), (",copy=annotated", r"1 CLOSED rows \(expected 272\)")],
)
def test_other_counts_than_the_published_ones_are_refused(
    published: Path, parquet: Any, options: str, found: str
) -> None:
    if options:
        row = question("synpic1.jpg", "axial", "CLOSED") | {"image": 5}
        parquet(published / "vqa-rad" / HUB[1], [row])
    with pytest.raises(UserError, match=found):
        open_cases(f"vqa-rad,data={published}{options}:test")


def test_results_name_the_leak_and_the_copy(published: Path) -> None:
    assert any("203" in note for note in opened(published).notes)
    assert any("Hub" in note for note in opened(published).notes)


def test_the_published_counts_add_up() -> None:
    for split in CARD.splits.values():
        assert not split.types or sum(split.types.values()) == split.rows
    assert Counter(CARD.splits["copy=annotated:test"].types) == {"CLOSED": 272, "OPEN": 179}


def test_another_json_file_is_named(annotated: Path) -> None:
    path = annotated / "vqa-rad/data_rad/testset.json"
    path.write_text(json.dumps([{"image_name": "a.jpg"}]))
    with pytest.raises(UserError, match=r"row 0 of .*testset.json has no 'image_organ'"):
        opened(annotated, ",copy=annotated")


def test_the_hubs_copy_is_fetched(hub: Hub, published: Path, tmp_path: Path) -> None:
    cases = fetched_cases(hub, "vqa-rad", published / "vqa-rad", "test", tmp_path / "data")
    assert [case.answer for case in cases] == ["Yes", "left", "4", "None"]
    assert open_image(cases[1].images[0]).pixels[0, 0] == 10


def test_keys_are_those_of_the_cases(published: Path) -> None:
    cases = opened(published)
    assert list(cases.case_keys()) == [CaseKey(c.id, c.source, c.group) for c in cases]


def test_results_on_a_clean_split_say_that_the_other_copy_is_dealt_otherwise(
    published: Path,
) -> None:
    said = "one copy's train-clean shares images with the other's test-clean"
    assert any(said in note for note in opened(published, split="test-clean").notes)
    assert not any(said in note for note in opened(published).notes)


def test_the_clean_splits_share_no_image(published: Path, parquet: Any) -> None:
    for row in range(8):  # as published, with an image in train for each in test
        rows = [{"image": 100 + row, "question": f"what {n}?", "answer": "air"} for n in (1, 2)]
        parquet(published / f"vqa-rad/data/train-0000{row}-of-00008-eb88.parquet", rows)
        parquet(published / f"vqa-rad/data/test-0000{row}-of-00008-e5bc.parquet", rows[:1])
    splits = [opened(published, split=f"{split}-clean") for split in ("train", "test")]
    groups = [{case.group for case in cases} for cases in splits]
    assert all(groups)
    assert not groups[0] & groups[1]
    assert sum(map(len, splits)) == sum(len(opened(published, split=s)) for s in ("train", "test"))
    assert not any(CARD.leaks[0] in cases.notes for cases in splits)
    assert CARD.leaks[0] in opened(published).notes
