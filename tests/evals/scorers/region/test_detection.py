"""Average precision: as pycocotools gives it, and with an interval that holds it."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from medgym.evals.scorers.region.detection import average_precision

Drawn = list[tuple[list[list[float]], list[list[float]]]]


def drawn(number: int, seed: int) -> Drawn:
    rng = np.random.default_rng(seed)
    cases: Drawn = []
    for _ in range(number):
        gold, found = [], []
        for _ in range(rng.integers(0, 4)):
            x, y, width, height = [*rng.uniform(0, 50, 2), *rng.uniform(8, 30, 2)]
            gold.append([x, y, x + width, y + height])
            if rng.random() < 0.8:
                near = np.array(gold[-1]) + rng.normal(0, 1.5, 4)
                found.append([*near.tolist(), round(float(rng.random()), 1)])
        for _ in range(rng.integers(0, 2)):
            x, y = rng.uniform(0, 50, 2)
            found.append([x, y, x + 9, y + 9, round(float(rng.random()), 1)])
        cases.append((gold, found))
    return cases


def by_the_library(cases: Drawn) -> tuple[float, float]:
    """AP50 and AP50:95 as `COCOeval.summarize` prints them."""
    truth, found = COCO(), []
    golds = []
    for number, (gold, given) in enumerate(cases):
        for x0, y0, x1, y1 in gold:
            box = [x0, y0, x1 - x0, y1 - y0]
            golds.append({"id": len(golds) + 1, "image_id": number, "category_id": 1, "bbox": box,
                          "area": box[2] * box[3], "iscrowd": 0})  # fmt: skip
        for x0, y0, x1, y1, score in given:
            found.append({"image_id": number, "category_id": 1, "score": score,
                          "bbox": [x0, y0, x1 - x0, y1 - y0]})  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth.dataset = {"images": [{"id": n} for n in range(len(cases))],
                         "categories": [{"id": 1}], "annotations": golds}  # fmt: skip
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[1]), float(run.stats[0])


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_what_pycocotools_says(seed: int) -> None:
    cases = drawn(40, seed)
    groups = [number // 2 for number in range(40)]
    found = average_precision(cases, groups, resamples=30)
    assert (found["AP50"].value, found["mAP"].value) == pytest.approx(by_the_library(cases))
    for each in found.values():
        assert 0 < each.low <= each.value <= each.high < 1
        assert (each.n, each.groups) == (40, 20)


GOLD = [[0.0, 0.0, 10.0, 10.0]]


def test_boxes_everywhere_and_no_boxes_are_worth_little() -> None:
    """A list of boxes that covers the image does not make precision, nor do copies of one box."""
    cells = [[x, y, x + 10.0, y + 10.0, 1.0] for x in range(0, 100, 10) for y in range(0, 100, 10)]
    tiles = [([[10.0 * n, 50.0, 10.0 * n + 10, 60.0]], cells) for n in range(10)]
    groups = list(range(10))
    assert average_precision(tiles, groups, resamples=10)["AP50"].value < 0.05
    nothing = [(GOLD, list[list[float]]())] * 10
    assert average_precision(nothing, groups, resamples=10)["mAP"].value == 0
    right = [(GOLD, [[*GOLD[0], 1.0]])] * 10
    assert average_precision(right, groups, resamples=10)["mAP"].value == pytest.approx(1)
    copied = [(GOLD, [[*GOLD[0], 1.0]] * 5)] * 10
    assert average_precision(copied, groups, resamples=10)["AP50"].value < 0.4
