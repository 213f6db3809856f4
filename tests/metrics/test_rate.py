import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from medgym.metrics import rate as rates
from medgym.metrics.rate import Rate, RunningRate


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # worked out by hand with z = 1.959964: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
        (81, 263, 0.2553, 0.3662),
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_the_interval_is_wilsons(right: int, n: int, low: float, high: float) -> None:
    found = Rate.of([True] * right + [False] * (n - right))
    assert (found.value, found.n) == (right / n, n)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_it_is_scipys_to_the_last_digit() -> None:
    for n in (1, 2, 7, 40, 200):
        for right in range(n + 1):
            interval = binomtest(right, n).proportion_ci(method="wilson")
            found = Rate.of([True] * right + [False] * (n - right))
            assert (found.low, found.high) == (interval.low, interval.high)


def test_of_nothing_nothing_is_known() -> None:
    assert Rate.of([]) == Rate(0.0, 0.0, 1.0, 0)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_the_interval_holds_the_share_and_stays_a_share(outcomes: list[bool]) -> None:
    found = Rate.of(outcomes)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert found.high > found.low


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_it_is_symmetric_and_forgets_the_order(outcomes: list[bool]) -> None:
    found, other = Rate.of(outcomes), Rate.of([not o for o in reversed(outcomes)])
    assert (other.low, other.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_a_running_rate_is_that_of_all_cases_so_far() -> None:
    draw = random.Random(0)
    for groups in (1, 7, 1000):
        running, outcomes, belongs = RunningRate(), [], []
        for _ in range(60):
            outcomes.append(draw.random() < 0.7)
            belongs.append(draw.randrange(groups))
            running.add(outcomes[-1], belongs[-1])
            whole = Rate.of(outcomes, belongs)
            assert vars(running.rate) == pytest.approx(vars(whole), abs=1e-12)
        assert len(running._kinds) <= groups, "it forgets what its groups have been"


def test_the_quantile_is_the_one_of_scipy() -> None:
    from scipy.special import ndtri

    assert float(ndtri(0.5 + rates.CONFIDENCE / 2)) == rates._QUANTILE


def test_cases_with_several_outcomes_count_as_all_of_these() -> None:
    parts, groups = [(2, 3), (0, 0), (1, 4), (2, 2)], ["a", "b", "a", "c"]
    outcomes = [True, True, False, True, False, False, False, True, True]
    assert Rate.of_parts(parts, groups) == Rate.of(outcomes, [*"aaaaaaa", *"cc"])
    assert Rate.of_parts(parts) == Rate.of(outcomes)
    assert Rate.of_parts([(0, 0)], ["a"]) == Rate.of([], []) == Rate.of([])
