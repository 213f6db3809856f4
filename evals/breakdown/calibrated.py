"""Whether a policy knows when it is right, by each confidence that its episodes hold."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from medgym.metrics.rate import Rate

from ..outcomes.outcome import CaseOutcome
from ..statistics.calibration import calibration, error_interval, risk_by_coverage
from ..statistics.intervals import mean_interval

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


class _Answer(NamedTuple):
    """An answer, and how sure the policy was of it."""

    unit: tuple[str, str]
    confidence: float
    right: bool


def calibrations(outcomes: Iterable[CaseOutcome]) -> dict[str, dict[str, Any]]:
    """How each confidence of these outcomes fits to their answers, by where it comes from.

    Only answers count: an episode without one has no confidence. Empty where no confidence is
    known of at least 20 answers.

    - `stated`, `tokens`: of each episode with an answer, see `SOURCES`.
    - `agreement`: of each case that was played several times, its most frequent answer; of equally
      frequent ones the one that was given first.
    """
    found: dict[str, list[_Answer]] = {"stated": [], "tokens": []}
    cases: dict[tuple[tuple[str, str], str, str], list[_Given]] = {}
    for each in outcomes:
        if not each.is_counted:
            continue
        key = each.unit, each.benchmark, each.case
        right = each.verdict == "right"
        cases.setdefault(key, []).append((each.member, each.vote or None, right))
        known = {"stated": each.stated_confidence, "tokens": each.answer_probability}
        for source, confidence in known.items():
            if each.answer is not None and confidence is not None:
                found[source].append(_Answer(each.unit, confidence, right))
    found["agreement"] = [*_agreement(cases)]
    # Sorted, since the order of episodes must not change a digit.
    return {name: _figures(sorted(each)) for name, each in found.items() if len(each) >= FEWEST}


_Given = tuple[int, str | None, bool]
"""Of an episode: its number among those of its case, the answer, and whether it is right."""


def _agreement(
    cases: Mapping[tuple[tuple[str, str], str, str], Sequence[_Given]],
) -> Iterator[_Answer]:
    for (unit, _, _), episodes in cases.items():
        ordered = sorted(episodes, key=lambda each: each[0])
        votes = Counter(said for _, said, _ in ordered if said is not None)
        if len(episodes) > 1 and votes:
            answer, count = votes.most_common(1)[0]
            right = next(right for _, said, right in ordered if said == answer)
            yield _Answer(unit, count / len(episodes), right)


def _figures(answers: Sequence[_Answer]) -> dict[str, Any]:
    given = [each.confidence for each in answers]
    right = [each.right for each in answers]
    units = [each.unit for each in answers]
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
        "kept": [_kept(share, answers) for share in COVERAGES],
        "curve": _curve(risk_by_coverage(given, right)),
    }


def _mean(
    values: Sequence[float], units: Sequence[tuple[str, str]], within: tuple[float, float]
) -> Mean:
    return mean_interval(values, units, within=within, resamples=RESAMPLES).as_dict()


def _kept(share: float, answers: Sequence[_Answer]) -> dict[str, Any]:
    """The accuracy of the most confident answers: at least so many, and all that are as confident
    as the last of them."""
    ordered = sorted((each.confidence for each in answers), reverse=True)
    threshold = ordered[max(1, round(share * len(ordered))) - 1]
    kept = [each for each in answers if each.confidence >= threshold]
    rate = Rate.of([each.right for each in kept], [each.unit for each in kept])
    return {
        "asked": share,
        "coverage": len(kept) / len(answers),
        "threshold": threshold,
        "accuracy": rate.as_dict(),
    }


def _curve(risks: Sequence[float]) -> list[list[float]]:
    """Coverage and risk, at `CURVE` places at most."""
    places = np.unique(np.linspace(1, len(risks), min(CURVE, len(risks))).round().astype(int))
    return [[float(place) / len(risks), risks[place - 1]] for place in places]
