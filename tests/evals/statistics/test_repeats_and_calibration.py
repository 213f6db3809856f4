"""Figures of several episodes of a case, and of what a policy believes of its answers."""

from itertools import combinations

import numpy as np
import pytest

from medgym.errors import UserError
from medgym.evals.statistics.calibration import (
    calibration,
    error_interval,
    risk_at,
    risk_by_coverage,
)
from medgym.evals.statistics.repeats import majority_at, pass_at


@pytest.mark.parametrize(("k", "right", "samples"), [(1, 2, 5), (2, 2, 5), (3, 0, 4), (3, 2, 4)])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(
    k: int, right: int, samples: int
) -> None:
    episodes = [number < right for number in range(samples)]
    subsets = list(combinations(episodes, k))
    assert pass_at(k, right, samples) == pytest.approx(np.mean([any(each) for each in subsets]))


def test_a_majority_counts_answers_and_not_silence() -> None:
    answers = [("a", True), ("a", True), ("b", False), (None, False), (None, False)]
    assert majority_at(5, answers) == 1.0
    assert majority_at(1, answers) == pytest.approx(2 / 5)
    assert majority_at(2, [("a", True), ("b", False)]) == 0.5
    assert majority_at(2, [(None, False), (None, False)]) == 0.0


@pytest.mark.parametrize("k", [0, 4])
def test_more_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(UserError, match="each case has 3 episodes; fix:"):
        pass_at(k, 1, 3)
    with pytest.raises(UserError, match="fix: play at least k"):
        majority_at(k, [("a", True)] * 3)


def test_a_calibrated_policy_has_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(20_000)
    right = rng.random(20_000) < confidence
    found = calibration(confidence.tolist(), right.tolist())
    assert found.error < 0.02
    assert found.brier == pytest.approx(1 / 6, abs=0.01)
    assert found.area == pytest.approx(1 / 4, abs=0.01)  # the risk at coverage c is c / 2


def test_a_policy_that_is_always_sure_and_half_right() -> None:
    found = calibration([1.0] * 10, [True, False] * 5)
    assert (found.error, found.brier, found.area) == (0.5, 0.5, 0.5)
    assert [each.n for each in found.bins] == [10]


def test_the_order_of_equal_confidences_does_not_matter() -> None:
    one = risk_by_coverage([0.9, 0.9, 0.1], [True, False, False])
    other = risk_by_coverage([0.9, 0.9, 0.1], [False, True, False])
    assert one == other == pytest.approx([0.5, 0.5, 2 / 3])
    assert risk_at(2 / 3, [0.9, 0.8, 0.1], [True, True, False]) == 0.0


@pytest.mark.parametrize(
    ("confidence", "right"), [([], []), ([0.5], []), ([1.5], [True]), ([float("nan")], [True])]
)
def test_what_is_no_confidence_is_refused(confidence: list[float], right: list[bool]) -> None:
    with pytest.raises(UserError, match="fix:"):
        calibration(confidence, right)


@pytest.mark.parametrize("off", [0.0, 0.2])
def test_the_interval_of_the_error_holds_the_true_one(off: float) -> None:
    """Also where it is 0, and cases of a group are alike; quantiles of resampled errors do not."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        confidence = rng.uniform(0.3, 1.0, 90)
        chance = np.repeat(rng.random(30), 3)
        chance = np.where(rng.random(90) < 0.5, chance, rng.random(90))
        right = chance < confidence - off
        found = error_interval(
            confidence.tolist(), right.tolist(), np.repeat(np.arange(30), 3).tolist(), resamples=200
        )
        held += found.low <= off <= found.high
    assert held >= 92
