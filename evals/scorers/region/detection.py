"""Average precision of boxes over the cases of a benchmark, by pycocotools.

COCO's rule: of all boxes, the most confident first, one is right where it overlaps with a gold box
that no earlier one has taken; precision is averaged over 101 levels of recall. AP50 asks for an
overlap of 0.5, mAP is the mean over 0.50, 0.55, ... 0.95. A box without a confidence has 1, so that
of a policy that gives none all boxes rank alike, in the order of the cases.

pycocotools matches the boxes of each case, once; intervals then weigh the cases.
"""

import contextlib
import importlib.util
import io
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medgym.metrics.groups import Floats
from medgym.metrics.intervals import Interval

from ...statistics.sums import Weights, weighted_interval

Boxes = Sequence[Sequence[float]]
"""Boxes x0, y0, x1, y1; of an answer each with its confidence behind."""

RESAMPLES = 300
"""How many data sets an interval of an average precision draws."""


def is_installed() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec("pycocotools") is not None


def average_precision(
    cases: Sequence[tuple[Boxes, Boxes]],
    groups: Sequence[Hashable],
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """AP50 and mAP of cases, each with its interval over groups.

    Args:
        cases: of each case the gold boxes, and those of the answer with their confidences.
        groups: what each case belongs to.
    """
    matched = _matched(cases)
    found = {}
    for name, levels in (("AP50", slice(0, 1)), ("mAP", slice(None))):

        def figure(weights: Weights, levels: slice = levels) -> Floats:
            return np.array([_precision(matched, row, levels) for row in weights])

        found[name] = weighted_interval(figure, groups, resamples=resamples)
    return found


@dataclass(frozen=True)
class _Matched:
    """All boxes of all answers, the most confident first.

    Attributes:
        right: at which overlaps each box is right, (levels, boxes). case: whose box each is.
        golds: the gold boxes of each case.
    """

    right: Any
    case: Any
    golds: Any


def _matched(cases: Sequence[tuple[Boxes, Boxes]]) -> _Matched:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    golds = [
        {"image_id": number, "bbox": _sized(box), "area": _area(box), "iscrowd": 0}
        for number, (gold, _) in enumerate(cases) for box in gold
    ]  # fmt: skip
    found = [
        {"image_id": number, "category_id": 1, "bbox": _sized(box), "score": box[4]}
        for number, (_, given) in enumerate(cases) for box in given
    ]  # fmt: skip
    held = np.array([len(gold) for gold, _ in cases])
    if not found or not golds:
        return _Matched(np.zeros((10, 0), bool), np.zeros(0, int), held)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number} for number in range(len(cases))],
            "categories": [{"id": 1}],
            "annotations": [
                {**each, "id": number + 1, "category_id": 1} for number, each in enumerate(golds)
            ],
        }
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(found), "bbox")
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e20]], ["all"]
        run.evaluate()
    each = [image for image in run.evalImgs if image is not None]
    scores = np.concatenate([image["dtScores"] for image in each])
    right = np.concatenate([image["dtMatches"] > 0 for image in each], axis=1)
    case = np.concatenate([[image["image_id"]] * len(image["dtScores"]) for image in each])
    order = np.argsort(-scores, kind="mergesort")  # as COCO ranks boxes
    return _Matched(right[:, order], case[order].astype(int), held)


def _precision(matched: _Matched, weights: Floats, levels: slice) -> float:
    """The mean over overlaps of the average precision of cases that count so often."""
    golds = float(weights @ matched.golds)
    if not golds:
        return 0.0
    often = weights[matched.case]
    right = np.cumsum(matched.right[levels] * often, axis=1)
    wrong = np.cumsum(~matched.right[levels] * often, axis=1)
    recall = right / golds
    precision = right / np.maximum(right + wrong, np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    asked = np.linspace(0.0, 1.0, 101)
    means = []
    for reached, each in zip(recall, precision, strict=True):
        place = np.searchsorted(reached, asked, side="left")
        means.append(np.where(place < len(each), np.append(each, 0.0)[place], 0.0).mean())
    return float(np.mean(means))


def _sized(box: Sequence[float]) -> list[float]:
    """A box as COCO has it: its corner, its width and its height."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
