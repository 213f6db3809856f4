"""Intervals hold what they promise on simulated data with clusters, whose truth is known."""

import numpy as np
import pytest

from medgym.errors import UserError
from medgym.evals.outcomes.shares import as_share
from medgym.evals.statistics.paired import difference
from medgym.evals.statistics.sums import figure_interval
from medgym.metrics.intervals import mean_interval
from medgym.metrics.rate import Rate

DATA_SETS = 2000


def clusters(rng: np.random.Generator, groups: int, size: float) -> np.ndarray:
    return np.repeat(np.arange(groups), 1 + rng.poisson(size - 1, groups))


@pytest.mark.parametrize(
    ("groups", "share", "alike"), [(20, 0.7, 0.3), (60, 0.85, 0.2), (150, 0.5, 0.1)]
)
def test_the_interval_of_a_share_holds_93_to_97_percent(
    groups: int, share: float, alike: float
) -> None:
    rng = np.random.default_rng(groups)
    a, b = share * (1 - alike) / alike, (1 - share) * (1 - alike) / alike
    held = 0
    for _ in range(DATA_SETS):
        place = clusters(rng, groups, 3)
        right = rng.random(len(place)) < rng.beta(a, b, groups)[place]
        rate = Rate.of(right.tolist(), place.tolist())
        held += rate.low <= share <= rate.high
    assert 0.93 <= held / DATA_SETS <= 0.97


@pytest.mark.parametrize(
    ("groups", "share", "alike"),
    [(10, 0.5, 0.4), (30, 0.1, 0.4), (30, 0.5, 0.4), (100, 0.02, 0.4), (100, 0.5, 0.15)],
)
def test_a_few_large_groups_do_not_make_it_too_narrow(
    groups: int, share: float, alike: float
) -> None:
    """Without the jackknife, and with a degree of freedom for each group, 81 to 91 %."""
    rng = np.random.default_rng(groups)
    a, b = share * (1 - alike) / alike, (1 - share) * (1 - alike) / alike
    held = 0
    for _ in range(400):
        sizes = np.minimum(1 + (rng.pareto(1.2, groups) * 2).astype(int), 60)
        right = rng.binomial(sizes, rng.beta(a, b, groups))
        cases = [
            number < of for of, size in zip(right, sizes, strict=True) for number in range(size)
        ]
        rate = Rate.of(cases, np.repeat(np.arange(groups), sizes).tolist())
        held += rate.low <= share <= rate.high
    assert held / 400 >= 0.925


def test_one_wrong_answer_does_not_make_the_interval_much_narrower() -> None:
    """Where hardly any group has a wrong answer, nothing says how alike cases of a group are."""
    groups = [number // 11 for number in range(1100)]
    none = Rate.of([True] * 1100, groups)
    one = Rate.of([False] + [True] * 1099, groups)
    assert none.high - none.low == pytest.approx(0.038, abs=0.001)
    assert one.high - one.low > 0.2 * (none.high - none.low), "it was a seventh"


def test_an_interval_that_takes_clusters_as_independent_does_not_hold() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        place = np.repeat(np.arange(40), 10)
        right = rng.random(len(place)) < rng.beta(2, 2, 40)[place]
        rate = Rate.of(right.tolist())
        held += rate.low <= 0.5 <= rate.high
    assert held / 400 < 0.8


def test_the_interval_of_a_mean_holds_93_to_97_percent() -> None:
    rng = np.random.default_rng(7)
    held = 0
    for number in range(1000):
        place = clusters(rng, 40, 3)
        values = rng.gamma(4, 0.1, len(place)) * (0.5 + rng.random(40)[place])
        found = mean_interval(values.tolist(), place.tolist(), seed=number, resamples=300)
        held += found.low <= 0.4 <= found.high
    assert 0.93 <= held / 1000 <= 0.97


def test_the_interval_of_a_mean_holds_with_a_few_large_groups() -> None:
    rng = np.random.default_rng(8)
    held = 0
    for number in range(400):
        sizes = np.minimum(1 + (rng.pareto(1.2, 30) * 2).astype(int), 60)
        place = np.repeat(np.arange(30), sizes)
        values = 0.25 * rng.random(len(place)) + 0.75 * rng.random(30)[place]
        found = mean_interval(values.tolist(), place.tolist(), seed=number, resamples=300)
        held += found.low <= 0.5 <= found.high
    assert held / 400 >= 0.93


def test_cases_of_their_own_are_independent() -> None:
    right = [number % 3 > 0 for number in range(50)]
    assert Rate.of(right, list(range(50))) == Rate.of(right)


def test_cases_of_one_group_that_agree_count_once() -> None:
    right = [number % 3 > 0 for number in range(50)]
    repeated = [each for each in right for _ in range(4)]
    groups = [number for number in range(50) for _ in range(4)]
    one, four = Rate.of(right), Rate.of(repeated, groups)
    assert four.value == one.value
    assert four.n == 200
    # Only the quantile of t is wider than that of the normal distribution.
    assert one.high - one.low < four.high - four.low < 1.05 * (one.high - one.low)


def test_one_group_says_nothing_of_others() -> None:
    assert (Rate.of([True, True], ["a", "a"]).low, Rate.of([True, True], ["a", "a"]).high) == (0, 1)
    assert mean_interval([0.2, 0.4], ["a", "a"]).high == np.inf


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).random(30).tolist()
    assert mean_interval(values, seed=5) == mean_interval(values, seed=5)
    assert mean_interval(values, seed=5) != mean_interval(values, seed=6)


def test_no_case_is_refused() -> None:
    with pytest.raises(UserError, match="no case to take a mean of; fix:"):
        mean_interval([])


def test_equal_values_do_not_say_how_much_values_differ() -> None:
    """No draw of a bootstrap differs from another then: its interval would claim certainty."""
    third = 1 / 3  # whose sums are rounded
    assert (mean_interval([third] * 9).low, mean_interval([third] * 9).high) == (-np.inf, np.inf)
    found = mean_interval([third] * 9, within=(0.0, 1.0))
    alike = Rate.of([True] * 9).low
    assert (found.low, found.high) == pytest.approx((third * alike, third * alike + 1 - alike))
    for columns in ([[0.0] * 9], [[0.5] * 9]):
        of_sums = figure_interval(columns, None, lambda sums: sums[:, 0], resamples=20)
        assert (as_share(of_sums).low, as_share(of_sums).high) == (0.0, 1.0)


def test_where_hardly_anything_differs_the_interval_holds() -> None:
    """Two policies of which the second gains one case of 40: often no case of a set differs."""
    rng, true, held = np.random.default_rng(0), 1 / 40, 0
    for _ in range(400):
        gains = (rng.random(60) < true).astype(float)
        found = difference([0.0] * 60, gains.tolist(), resamples=300).interval
        held += found.low <= true <= found.high
    assert held / 400 > 0.93, "0.76 as long as sets without a difference had no width"
