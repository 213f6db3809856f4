"""Verdicts and scores of regions: boxes, lists of them, outlines, masks, and blocks of a volume."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case, Mask, Region
from medgym.evals.scorers.region.grammar import read_shapes
from medgym.imaging.study import ImageRef
from medgym.scorer import grade

TABLE = Path(__file__).with_name("verdicts.txt")


def a_case(*golds: str, **other: Any) -> Case:
    return Case.model_validate(
        {
            "id": "a/test/0", "images": (), "question": "Where?", "answer": golds[0],
            "accepted": golds[1:], "answer_type": "region", "group": "g", "source": "a",
            "split": "test", **other,
        }
    )  # fmt: skip


def table() -> Iterator[tuple[tuple[str, ...], list[tuple[str, int, str]]]]:
    golds: tuple[str, ...] = ()
    rows: list[tuple[str, int, str]] = []
    for line in TABLE.read_text("utf-8").splitlines():
        if line.startswith("= "):
            if golds:
                yield golds, rows
            golds, rows = tuple(line[2:].split(" || ")), []
        elif not line.startswith("#"):
            verdict, score, text = line.split(" ", 2)
            rows.append((verdict, int(score), text))
    yield golds, rows


@pytest.mark.parametrize(("golds", "rows"), list(table()), ids=lambda value: str(value[0])[:30])
def test_every_region_gets_its_verdict_and_its_score(
    golds: tuple[str, ...], rows: list[tuple[str, int, str]]
) -> None:
    case = a_case(*golds)
    found = []
    for _, _, text in rows:
        graded = grade(case, text)
        found.append((graded.verdict, round(100 * graded.score), text))
    assert found == rows


def inside(*boxes: tuple[int, int, int, int], side: int = 40) -> Mask:
    made = np.zeros((side, side), bool)
    for x0, y0, x1, y1 in boxes:
        made[y0:y1, x0:x1] = True
    return Mask.of(made)


LUNGS = (
    Region(label="left lung", box_px=(2, 5, 12, 35), mask=inside((2, 5, 12, 35))),
    Region(label="right lung", box_px=(25, 5, 35, 35), mask=inside((25, 5, 35, 35))),
)
WHOLE = {
    "width": 40, "height": 40, "counts": list(inside((2, 5, 12, 35), (25, 5, 35, 35)).counts),
}  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "verdict", "score"),
    [
        (json.dumps({"mask": WHOLE}), "right", 1.0),
        ("[[2, 5, 12, 35], [25, 5, 35, 35]]", "right", 1.0),
        ("[[25, 5, 35, 35], [2, 5, 12, 35]]", "right", 1.0),
        ("[2, 5, 12, 35]", "wrong", 0.5),
        ("[2, 5, 35, 35]", "wrong", 300 / 990 / 2),
        ("[0, 0, 40, 40]", "wrong", 300 / 1600 / 2),
        ("[0, 0, 1000, 1000]", "wrong", 300 / 1e6 / 2),
        ('{"polygon": [[2, 5], [35, 5], [35, 35], [2, 35]]}', "right", 600 / 990),
        ('{"polygon": [[2, 5], [12, 5], [12, 35], [2, 35]]}', "right", 0.5),
        ('{"polygon": [[0, 0], [40, 0], [40, 40], [0, 40]]}', "wrong", 600 / 1600),
        ("lungs", "unparsed", 0.0),
        ("", "unparsed", 0.0),
    ],
)
def test_the_gold_may_be_regions_with_masks(reply: str, verdict: str, score: float) -> None:
    """As SLAKE has them: the regions of a case are the gold where its answer is blank."""
    found = grade(a_case("", regions=LUNGS), reply)
    assert (found.verdict, found.score) == (verdict, pytest.approx(score))


def a_block(first: int, count: int) -> Region:
    return Region(label="x", box_px=(0, 0, 10, 10), plane="axial", index=first, count=count)


@pytest.mark.parametrize(
    ("reply", "verdict", "score"),
    [
        ("[0, 0, 4, 10, 10, 8]", "right", 1.0),
        ("[0, 0, 4, 10, 10, 8, 0.7]", "right", 1.0),
        ("[[0, 0, 4, 10, 10, 8]]", "right", 1.0),
        ('{"box": [0, 0, 10, 10], "index": 4, "count": 4}', "right", 1.0),
        ('{"box": [0, 0, 4, 10, 10, 8], "score": 1}', "right", 1.0),
        ("[0, 0, 5, 10, 10, 9]", "right", 3 / 5),
        ("[0, 0, 4, 10, 10, 6]", "right", 1 / 2),
        ('{"box": [0, 0, 10, 10], "index": 4}', "wrong", 1 / 4),
        ("[0, 0, 4, 10, 5, 6]", "wrong", 1 / 4),
        ("[0, 0, 0, 10, 10, 99]", "wrong", 4 / 99),
        ("[0, 0, 8, 10, 10, 12]", "wrong", 0.0),
        ("[[0, 0, 4, 10, 10, 8], [0, 0, 20, 10, 10, 24]]", "wrong", 0.5),
        ('{"polygon": [[0, 0], [10, 0], [10, 10], [0, 10]], "index": 4, "count": 4}', "right", 1),
        ('{"polygon": [[0, 0], [10, 0], [10, 10], [0, 10]], "index": 4}', "wrong", 1 / 4),
        ("[0, 0, 10, 10]", "unparsed", 0.0),  # it does not say on which images
        ("[0, 0, 8, 10, 10, 4]", "unparsed", 0.0),
        ("[0, 0, 4.5, 10, 10, 8]", "unparsed", 0.0),
        ("[0, 0, -1, 10, 10, 8]", "unparsed", 0.0),
        ('{"box": [0, 0, 10, 10], "index": 4, "count": 0}', "unparsed", 0.0),
        ('{"box": [0, 0, 4, 10, 10, 8], "index": 4}', "unparsed", 0.0),
    ],
)
def test_in_a_volume_depth_counts(reply: str, verdict: str, score: float) -> None:
    found = grade(a_case("", regions=(a_block(4, 4),)), reply)
    assert (found.verdict, found.score) == (verdict, pytest.approx(score))


def test_a_box_lies_on_the_image_that_the_case_shows() -> None:
    ref = ImageRef(uri="file:x", plane="axial", index=5)
    shown = a_case("", regions=(a_block(5, 1),), images=(ref,))
    assert grade(shown, "[0, 0, 10, 10]").right
    deep = a_case("", regions=(a_block(4, 4),), images=(ref,))
    assert grade(deep, "[0, 0, 10, 10]").score == pytest.approx(1 / 4)
    assert grade(deep, '{"box": [0, 0, 10, 10], "image": 3}').verdict == "unparsed"


def test_a_text_gold_may_be_a_block() -> None:
    case = a_case("[0, 0, 4, 10, 10, 8]", images=(ImageRef(uri="file:x"),))
    assert grade(case, "[0, 0, 4, 10, 10, 8]").right
    assert grade(case, "[0, 0, 5, 10, 10, 9]").score == pytest.approx(3 / 5)
    assert grade(case, "[0, 0, 10, 10]").verdict == "unparsed"


def test_a_gold_that_is_no_region_is_compared_as_text() -> None:
    case = a_case("Left upper lobe.")
    assert grade(case, "left upper lobe").right
    assert grade(case, "[0, 0, 1, 1]").verdict == "wrong"


@pytest.mark.parametrize("many", [101, 3000])
def test_a_hundred_regions_are_the_most(many: int) -> None:
    listed = json.dumps([[n, 0, n + 1, 1] for n in range(many)])
    assert grade(a_case("[0, 0, 1, 1]"), listed).verdict == "unparsed"
    assert grade(a_case("[0, 0, 1, 1]"), "[" * 5000 + "]" * 5000).verdict == "unparsed"
    fewer = json.dumps([[n, 0, n + 1, 1] for n in range(100)])
    assert grade(a_case("[0, 0, 1, 1]"), fewer).score == pytest.approx(1 / 100)


@pytest.mark.parametrize("seed", range(3))
def test_an_outline_is_the_pixels_whose_middle_lies_in_it(seed: int) -> None:
    from skimage.draw import polygon

    rng = np.random.default_rng(seed)
    points = np.round(rng.uniform(0, 40, (seed + 3, 2)), 3)
    drawn = read_shapes(json.dumps({"polygon": points.tolist()}))
    assert drawn is not None
    mask = drawn[0].region.mask
    assert mask is not None
    expected = np.zeros((mask.height, mask.width), bool)
    expected[polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, expected.shape)] = True
    assert (mask.array() == expected).all()
