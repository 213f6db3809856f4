"""Paired comparisons: right on simple examples, at their level without a difference."""

import numpy as np
import pytest
from scipy import stats

from medgym.errors import UserError
from medgym.evals.statistics.paired import difference, holm, mcnemar, permutation
from medgym.evals.statistics.power import cases_needed, power

DATA_SETS = 2000


def test_false_alarms_of_paired_tests_are_5_percent() -> None:
    rng = np.random.default_rng(11)
    by_mcnemar = by_permutation = 0
    for number in range(DATA_SETS):
        chance = rng.beta(2, 2, 300)
        gains = (rng.random(300) < chance).astype(int) - (rng.random(300) < chance)
        by_mcnemar += mcnemar(int((gains < 0).sum()), int((gains > 0).sum())) < 0.05
        groups = (np.arange(300) // 3).tolist()
        by_permutation += permutation(gains.tolist(), groups, seed=number, resamples=199) < 0.05
    assert 0.04 <= by_mcnemar / DATA_SETS <= 0.06
    assert 0.04 <= by_permutation / DATA_SETS <= 0.06


def test_the_interval_of_a_difference_holds() -> None:
    rng = np.random.default_rng(12)
    held = 0
    for number in range(1000):
        places = np.repeat(np.arange(50), 1 + rng.poisson(2, 50))
        chance = rng.beta(3, 2, 50)[places]
        first = (rng.random(len(places)) < chance).astype(float)
        second = (rng.random(len(places)) < chance).astype(float)
        found = difference(
            first.tolist(), second.tolist(), places.tolist(), seed=number, resamples=300
        )
        held += found.interval.low <= 0 <= found.interval.high
    assert 0.93 <= held / 1000 <= 0.97


@pytest.mark.parametrize(("groups", "size", "share"), [(10, 1, 0.7), (30, 1, 0.05), (30, 4, 0.95)])
def test_no_more_than_5_percent_of_equal_policies_win_or_lose(
    groups: int, size: int, share: float
) -> None:
    """Where few cases differ, an interval by draws of these alone left out zero in 9 to 13 %."""
    rng, told_apart = np.random.default_rng(groups * size), 0
    places = np.repeat(np.arange(groups), size)
    for number in range(250):
        chance = rng.beta(7 / 3 * share, 7 / 3 * (1 - share), groups) if size > 1 else share
        both = np.broadcast_to(chance, groups)[places]
        first, second = (rng.random((2, len(places))) < both).astype(float)
        found = difference(
            first.tolist(), second.tolist(), places.tolist(), seed=number, resamples=200
        )
        assert -1 <= found.interval.low <= found.interval.value <= found.interval.high <= 1
        told_apart += found.outcome != "tie"
    assert told_apart / 250 <= 0.06


def test_the_interval_holds_a_gain_to_near_100_percent() -> None:
    """Few of ten large groups have a case that differs: 88 % where two single cases were added."""
    rng, held, places = np.random.default_rng(6), 0, np.repeat(np.arange(10), 30)
    for number in range(400):
        rank = rng.random(10)  # how easy a group is, to both
        first, second = (
            (rng.random(300) < stats.beta.ppf(rank, share * 7 / 3, (1 - share) * 7 / 3)[places])
            for share in (0.90, 0.98)
        )
        found = difference(
            first.tolist(), second.tolist(), places.tolist(), seed=number, resamples=300
        )
        held += found.interval.low <= 0.08 <= found.interval.high
    assert held / 400 >= 0.92


def test_a_few_gained_cases_are_no_win() -> None:
    """3 of 30 gained and none lost: p is 0.125, and the interval left out zero."""
    found = difference([0.0] * 30, [1.0] * 3 + [0.0] * 27)
    assert found.mcnemar == 0.125
    assert found.outcome == "tie"
    assert difference([0.0] * 30, [1.0] * 8 + [0.0] * 22).outcome == "win"


def test_power_is_as_promised() -> None:
    rng, needed = np.random.default_rng(13), cases_needed(0.06, 0.12)
    assert power(needed, 0.06, 0.12) == pytest.approx(0.8, abs=0.002)
    told_apart = 0
    for _ in range(DATA_SETS):
        fate = rng.random(needed)
        first, second = int((fate < 0.06).sum()), int(((fate >= 0.06) & (fate < 0.18)).sum())
        told_apart += mcnemar(first, second) < 0.05
    assert 0.77 <= told_apart / DATA_SETS <= 0.83


def test_a_design_effect_asks_for_more_cases() -> None:
    assert cases_needed(0.1, 0.2, design_effect=2.5) == pytest.approx(
        2.5 * cases_needed(0.1, 0.2), abs=2
    )


@pytest.mark.parametrize(
    ("first", "second"), [(0.1, 0.1), (0.6, 0.6), (-0.1, 0.2), (float("nan"), 0.1)]
)
def test_shares_that_cannot_be_told_apart_are_refused(first: float, second: float) -> None:
    with pytest.raises(UserError, match="fix:"):
        cases_needed(first, second)


def test_mcnemar_agrees_with_the_binomial_law() -> None:
    exact = stats.binomtest(3, 15).pvalue
    assert mcnemar(3, 12) == mcnemar(12, 3) == pytest.approx(exact - stats.binom(15, 0.5).pmf(3))
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0


def test_a_permutation_test_of_few_groups_tries_all_ways() -> None:
    gains = [1.0, 1.0, 1.0, -1.0, 1.0]
    # Of 32 ways 2 sum to 5 or -5, and 10 to 3 or -3, as was seen.
    assert permutation(gains) == pytest.approx((2 + 10 / 2) / 32)
    # Two groups can only be flipped in four ways, half of which are what was seen.
    assert permutation([1.0] * 6, ["a", "a", "a", "b", "b", "b"]) == 0.25


def test_a_permutation_test_of_other_scores_agrees_with_scipy() -> None:
    gains = np.random.default_rng(4).normal(0.3, 1, 40).tolist()
    expected = stats.permutation_test(
        (gains,), lambda x, axis: x.sum(axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=20_000, rng=0,
    ).pvalue  # fmt: skip
    assert permutation(gains, resamples=20_000) == pytest.approx(expected, abs=0.01)


def test_a_difference_says_who_won() -> None:
    first = [0.0] * 60 + [1.0] * 40
    second = [1.0] * 30 + [0.0] * 30 + [1.0] * 40
    found = difference(first, second)
    assert found.outcome == "win"
    assert (found.only_first, found.only_second) == (0, 30)
    assert found.interval.value == pytest.approx(0.3)
    assert difference(second, first).outcome == "loss"
    assert difference(first, first).outcome == "tie"
    assert difference(first, first).permutation == 1.0


def test_groups_take_away_what_repeats_seemed_to_show() -> None:
    first, second = [0.0] * 40, [1.0] * 20 + [0.0] * 20
    groups = ["one patient"] * 20 + [f"patient {number}" for number in range(20)]
    assert difference(first, second).outcome == "win"
    found = difference(first, second, groups)
    assert found.outcome == "tie"
    assert found.mcnemar is None
    assert found.permutation > 0.2


def test_scores_of_other_cases_are_refused() -> None:
    with pytest.raises(UserError, match="3 scores cannot be paired with 2; fix:"):
        difference([1, 0, 1], [1, 0])


def test_holm_agrees_with_statsmodels_on_a_published_example() -> None:
    # Holm 1979, as in R's p.adjust: 0.01, 0.02, 0.03, 0.04 -> 0.04, 0.06, 0.06, 0.06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
