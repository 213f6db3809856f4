"""Whether a policy knows when it is right: calibration, Brier score, risk against coverage."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from medgym.errors import UserError
from medgym.metrics.groups import RESAMPLES, Groups
from medgym.metrics.intervals import Interval
from medgym.metrics.rate import CONFIDENCE, bounds_of_equals

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The answers of one range of confidence.

    Attributes:
        low, high: the range. n: how many answers. confidence: their mean confidence. right: the
            share of right ones.
    """

    low: float
    high: float
    n: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """How a policy's confidence fits to its answers.

    Attributes:
        n: answers with a confidence.
        error: expected calibration error: the mean distance of confidence and share right over bins
            of equal width, weighted by their answers (Guo et al. 2017).
        brier: mean squared distance of the confidence from 1 (right) or 0 (wrong) (Brier 1950).
        area: under risk against coverage: the mean share of wrong answers over all coverages, the
            most confident first (Geifman and El-Yaniv 2017).
        bins: those that hold answers.
    """

    n: int
    error: float
    brier: float
    area: float
    bins: tuple[Bin, ...]


def calibration(confidence: Sequence[float], right: Sequence[bool]) -> Calibration:
    """How confidences fit to answers.

    Raises:
        UserError: there is no answer, or a confidence is not between 0 and 1.
    """
    given = np.asarray(confidence, dtype=np.float64)
    outcomes = np.asarray(right, dtype=np.float64)
    if not len(given) or len(given) != len(outcomes):
        raise UserError(
            "calibration needs a confidence and an outcome of each answer; fix: give it"
        )
    if not np.all((given >= 0) & (given <= 1)):
        raise UserError("a confidence is not between 0 and 1; fix: give probabilities")
    places = np.minimum((given * BINS).astype(int), BINS - 1)
    bins = [
        Bin(
            place / BINS, (place + 1) / BINS, int(inside.sum()), float(given[inside].mean()),
            float(outcomes[inside].mean()),
        )
        for place in range(BINS) if (inside := places == place).any()
    ]  # fmt: skip
    return Calibration(
        n=len(given),
        error=sum(each.n * abs(each.confidence - each.right) for each in bins) / len(given),
        brier=float(np.mean((given - outcomes) ** 2)),
        area=float(np.mean(risk_by_coverage(confidence, right))),
        bins=tuple(bins),
    )


def error_interval(
    confidence: Sequence[float],
    right: Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The expected calibration error with an interval that holds the true one in at least 95 %.

    The error is never below 0, so that it is too high where there are few answers, and resampling
    adds as much again: intervals of its quantiles miss the truth. The interval is instead as wide
    on both sides as the gaps of the bins (confidence less share right) together are off in 95 % of
    the resampled sets. By the triangle inequality the error is not further off than these. It is
    wider than need be; where it holds 0, no miscalibration is found. Where all groups are alike, it
    is as wide as `bounds_of_equals` has it.
    """
    found = calibration(confidence, right)
    gaps = np.asarray(confidence, dtype=np.float64) - np.asarray(right, dtype=np.float64)
    places = np.minimum((np.asarray(confidence) * BINS).astype(int), BINS - 1)
    columns = [np.where(places == place, gaps, 0.0) for place in np.unique(places)]
    table = Groups.of(columns, groups)
    if table.count == 1:  # nothing says how much groups differ
        return Interval(found.error, 0.0, 1.0, found.n, 1)
    drawn = table.resampled_means(np.random.default_rng(seed), resamples)
    off = float(np.quantile(np.abs(drawn - table.means).sum(axis=1), CONFIDENCE))
    reach = off * float(np.sqrt(table.count / (table.count - 1)))
    if off < 1e-12:  # another answer would be off by 1 more at most than those that were seen
        units: Sequence[Hashable] = range(found.n) if groups is None else groups
        reach = bounds_of_equals(0.0, 0.0, 1.0 + float(np.abs(gaps).max()), units)[1]
    low, high = max(0.0, found.error - reach), min(1.0, found.error + reach)
    return Interval(found.error, low, high, found.n, table.count)


def risk_by_coverage(confidence: Sequence[float], right: Sequence[bool]) -> list[float]:
    """The share of wrong answers among the k most confident ones, for k = 1, 2, ... all.

    Answers of equal confidence come in together: their order must not matter, so each of them
    counts as the mean of all of them.
    """
    given = np.asarray(confidence, dtype=np.float64)
    wrong = 1.0 - np.asarray(right, dtype=np.float64)
    order = np.argsort(-given, kind="stable")
    _, equal = np.unique(-given[order], return_inverse=True)
    counts = np.bincount(equal)
    shared = np.bincount(equal, weights=wrong[order]) / counts
    risks = np.cumsum(shared[equal]) / np.arange(1, len(given) + 1)
    return [float(each) for each in risks]


def risk_at(coverage: float, confidence: Sequence[float], right: Sequence[bool]) -> float:
    """The share of wrong answers where only the most confident `coverage` of them are given.

    Raises:
        UserError: the coverage is not above 0 and at most 1.
    """
    if not 0 < coverage <= 1:
        raise UserError(f"a coverage of {coverage} is no share; fix: give one above 0, at most 1")
    risks = risk_by_coverage(confidence, right)
    return risks[max(1, round(coverage * len(risks))) - 1]
