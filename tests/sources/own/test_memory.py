"""Cases of what a program holds: pictures, arrays, bytes, rows of `datasets`."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import medgym
from medgym.errors import UserError

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)


def png(array: Any = GREY) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("picture", "values"),
    [
        (Image.fromarray(GREY), GREY),
        (GREY, GREY),
        (np.dstack([GREY, GREY, GREY])[:, ::-1], np.dstack([GREY, GREY, GREY])[:, ::-1]),
        (GREY.astype(np.uint16) * 999, GREY.astype(np.uint16) * 999),
        (GREY.astype(np.int16) * 99 - 1000, GREY.astype(np.int16) * 99 - 1000),
        (GREY / np.float64(7), (GREY / 7).astype(np.float32)),
        (GREY > 4, (GREY > 4) * np.uint8(255)),
        (Image.fromarray(GREY).convert("RGB").convert("CMYK"), np.dstack([GREY] * 3)),
        (png(), GREY),
        ({"bytes": png(), "path": "a.png"}, GREY),
        (medgym.image_ref(GREY), GREY),
    ],
)
def test_an_image_in_memory_keeps_its_values(picture: Any, values: Any) -> None:
    study = medgym.open_study(medgym.image_ref(picture))
    assert np.array_equal(study.values("image", 0), values.astype(np.float32))


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(png())
    uris = [medgym.image_ref(path).uri for path in (tmp_path / "a b.png", f"{tmp_path}/a b.png")]
    assert uris == [(tmp_path / "a b.png").as_uri()] * 2
    assert medgym.image_ref({"bytes": None, "path": str(tmp_path / "a b.png")}).uri == uris[0]


@pytest.mark.parametrize("picture", [None, 7, b"", "", {}, np.zeros((2, 3, 4, 5)), np.zeros((3, 0)),
                                     GREY.astype(complex), np.zeros((3, 4, 3))])  # fmt: skip
def test_what_is_no_image_is_refused(picture: Any) -> None:
    with pytest.raises(UserError, match=r"cannot make an image of an? .*; fix: give"):
        medgym.image_ref(picture)


ROWS = [
    {"image": GREY, "question": "Which?", "choices": ["x", "y"], "label": 1, "patient": "P"},
    {"image": [GREY, GREY + 1], "question": "Which?", "choices": ["x", "y"], "label": 0},
    {"image": None, "question": "Which?", "choices": ["x", "y"], "label": 0},
]


def test_rows_make_cases() -> None:
    cases = medgym.cases_from_rows(ROWS, gold="index", name="mine", split="test")
    assert [(case.id, case.answer) for case in cases] == [
        ("mine/test/0", "y"),
        ("mine/test/1", "x"),
    ]
    assert [len(case.images) for case in cases] == [1, 2]
    assert cases[0].group == "P"
    assert cases.dropped == [
        ("row 2 (from 0) of the rows 'mine'", "it has no image (column 'image')")
    ]
    env = medgym.make(cases)
    env.reset(seed=0, options={"case": "mine/test/1"})
    assert len(medgym.open_cases(cases)[1:]) == 1


def test_rows_of_datasets_are_decoded_only_for_their_cases() -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{**row, "image": Image.fromarray(GREY + n)} for n, row in enumerate(ROWS[:2])]
    found = datasets.Dataset.from_list([{**row, "patient": None} for row in rows])
    cases = medgym.cases_from_rows(found, gold="index")
    assert [case.answer for case in cases] == ["y", "x"]
    assert cases[0].group != cases[1].group
    study = medgym.open_study(cases[1].images[0])
    assert np.array_equal(study.values("image", 0), GREY + np.float32(1))


def test_what_is_no_row_is_refused() -> None:
    for rows in ([1, 2], 7, {"question": "x"}):
        with pytest.raises(UserError, match=r"cannot make cases of an? .*; fix: give a list"):
            medgym.cases_from_rows(rows)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the rows has no column 'x' for the answer"):
        medgym.cases_from_rows(ROWS, answer="x")
    with pytest.raises(UserError, match="unknown option of the source rows 'colour'"):
        medgym.cases_from_rows(ROWS, colour="x")


def test_values_of_numpy_and_missing_ones_are_what_they_look_like() -> None:
    rows = [
        {**ROWS[0], "options": np.array(["a", "b"], object), "answer": np.int64(1)},
        {**ROWS[0], "options": [None, "b"], "answer": float("nan")},
    ]
    cases = medgym.cases_from_rows(rows, gold="index")
    assert [case.answer for case in cases] == ["b"]
    assert [reason for _, reason in cases.dropped] == ["the answer is blank (column 'answer')"]
    plain = {"image": GREY, "question": "How many?"}
    numbers = medgym.cases_from_rows([{**plain, "answer": np.float32(2.5)}])
    assert [(case.answer, case.answer_type) for case in numbers] == [("2.5", "number")]


def test_what_is_no_image_costs_its_row() -> None:
    wrong = [7, np.zeros((2, 3, 4, 5)), np.zeros((4, 4), np.int64), float("nan"), {"bytes": None}]
    cases = medgym.cases_from_rows(
        [ROWS[0], *({**ROWS[0], "image": each} for each in wrong)], gold="index"
    )
    assert [len(case.images) for case in cases] == [1]
    assert [reason.split(" ")[:3] for _, reason in cases.dropped] == [
        ["what", "is", "of"],
        ["cannot", "make", "an"],
        ["cannot", "make", "an"],
        ["it", "has", "no"],
        ["it", "has", "no"],
    ]


def test_the_number_of_a_class_is_its_name(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    text, names = datasets.Value("string"), datasets.ClassLabel(names=["cyst", "nodule"])
    features = datasets.Features({"image": text, "question": text, "answer": names})
    rows = {"image": ["a.png"] * 3, "question": ["What?"] * 3, "answer": [1, 0, -1]}
    found = datasets.Dataset.from_dict(rows, features=features)
    found.to_parquet(tmp_path / "rows.parquet")
    table = medgym.open_cases(f"table,path={tmp_path / 'rows.parquet'}:all")
    for cases in (medgym.cases_from_rows(found), table):
        assert [case.answer for case in cases] == ["nodule", "cyst"]
        assert len(cases.dropped) == 1
