"""Whether a policy knows when it is right, by each confidence that its episodes hold."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from medgym.metrics.intervals import mean_interval
from medgym.metrics.rate import Rate

from ..outcomes.columns import NumberColumns
from ..outcomes.outcome import CaseOutcome
from ..outcomes.packed import PackedRows, in_order
from ..statistics.calibration import calibration, error_interval, risk_by_coverage

COVERAGES = (0.5, 0.8, 0.9, 1.0)
"""Shares of the answers that are kept, the most confident first: the others are abstained from."""

FEWEST = 20
"""Answers with a confidence below which nothing is said of it."""

RESAMPLES = 2_000
"""Data sets that an interval is made from."""

CURVE = 50
"""Points of the curve of risk against coverage that are kept."""

SOURCES: Mapping[str, str] = {
    "stated": "the confidence that the last reply states, such as Confidence: 80 %",
    "tokens": "the probability of the answer's tokens as they were sampled",
    "agreement": "the share of a case's episodes that gave its most frequent answer",
}
"""Where a confidence comes from."""


Mean = dict[str, float]


Unit = tuple[str, str]

_Answer = tuple[Unit, float, bool]
"""Of an answer: its unit, how sure the policy was of it, and whether it is right."""


def calibrations(outcomes: Iterable[CaseOutcome]) -> dict[str, dict[str, Any]]:
    """How each confidence of these outcomes fits to their answers, by where it comes from.

    Only answers count: an episode without one has no confidence. Empty where no confidence is
    known of at least 20 answers.

    - `stated`, `tokens`: of each episode with an answer, see `SOURCES`.
    - `agreement`: of each case that was played several times, its most frequent answer; of equally
      frequent ones the one that was given first.
    """
    found = {"stated": PackedRows[_Answer](), "tokens": PackedRows[_Answer]()}
    given = PackedRows[_Given]()
    for each in outcomes:
        if not each.is_counted:
            continue
        right = each.verdict == "right"
        given.add((each.unit, each.benchmark, each.case, each.member, each.vote or None, right))
        known = {"stated": each.stated_confidence, "tokens": each.answer_probability}
        for source, confidence in known.items():
            if each.answer is not None and confidence is not None:
                found[source].add((each.unit, confidence, right))
    found["agreement"] = PackedRows(_agreement(given))
    return {name: _figures(each) for name, each in found.items() if len(each) >= FEWEST}


_Given = tuple[Unit, str, str, int, str | None, bool]
"""Of an episode: its unit, its benchmark, its case, its number among those of the case, the answer,
and whether it is right."""


def _agreement(given: Iterable[_Given]) -> Iterator[_Answer]:
    ordered = in_order(given, key=itemgetter(0, 1, 2, 3))
    for (unit, _, _), of_case in groupby(ordered, key=itemgetter(0, 1, 2)):
        episodes = [(said, right) for *_, said, right in of_case]
        votes = Counter(said for said, _ in episodes if said is not None)
        if len(episodes) > 1 and votes:
            answer, count = votes.most_common(1)[0]
            right = next(right for said, right in episodes if said == answer)
            yield unit, count / len(episodes), right


def _figures(answers: Iterable[_Answer]) -> dict[str, Any]:
    # In order, since that of the episodes must not change a digit.
    columns = NumberColumns(in_order(answers), 2)
    given, right = columns.values[0].tolist(), (columns.values[1] == 1).tolist()
    units = columns.groups()
    found = calibration(given, right)
    squares = [(c - r) ** 2 for c, r in zip(given, right, strict=True)]
    gaps = [c - r for c, r in zip(given, right, strict=True)]
    return {
        "n": found.n,
        "groups": len(set(units)),
        "error": error_interval(given, right, units, resamples=RESAMPLES).as_dict(),
        "brier": _mean(squares, units, (0.0, 1.0)),
        "overconfidence": _mean(gaps, units, (-1.0, 1.0)),
        "area": found.area,
        "bins": [vars(each) for each in found.bins],
        "kept": [_kept(share, columns) for share in COVERAGES],
        "curve": _curve(risk_by_coverage(given, right)),
    }


def _mean(values: Sequence[float], units: Sequence[Hashable], within: tuple[float, float]) -> Mean:
    return mean_interval(values, units, within=within, resamples=RESAMPLES).as_dict()


def _kept(share: float, answers: NumberColumns) -> dict[str, Any]:
    """The accuracy of the most confident answers: at least so many, and all that are as confident
    as the last of them."""
    confidence, right = answers.values
    ordered = np.sort(confidence)[::-1]
    threshold = float(ordered[max(1, round(share * len(ordered))) - 1])
    kept = confidence >= threshold
    rate = Rate.of((right[kept] == 1).tolist(), answers.groups(kept))
    return {
        "asked": share,
        "coverage": int(kept.sum()) / len(confidence),
        "threshold": threshold,
        "accuracy": rate.as_dict(),
    }


def _curve(risks: Sequence[float]) -> list[list[float]]:
    """Coverage and risk, at `CURVE` places at most."""
    places = np.unique(np.linspace(1, len(risks), min(CURVE, len(risks))).round().astype(int))
    return [[float(place) / len(risks), risks[place - 1]] for place in places]
