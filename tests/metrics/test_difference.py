"""Paired differences: the same cases on both sides, several seeds of a case drawn together."""

import numpy as np
import pytest

from medgym.metrics.difference import Difference


def test_the_interval_holds_the_difference_and_is_narrower_than_unpaired() -> None:
    rng = np.random.default_rng(0)
    easy = rng.random(200) < 0.5  # for both
    ours = [[bool(each or rng.random() < 0.2)] for each in easy]
    theirs = [[bool(each)] for each in easy]
    found = Difference.of(ours, theirs)
    assert found.value == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert found.low < found.value < found.high
    assert found.is_clear
    # Two independent shares of 200 cases near a half are apart by 10 points either way by chance.
    assert found.high - found.low < 0.1
    assert found.as_dict().keys() == {"value", "low", "high", "n"}


def test_the_outcomes_of_a_case_under_several_seeds_are_drawn_together() -> None:
    rng = np.random.default_rng(1)
    ours = [[bool(rng.random() < 0.7)] for _ in range(100)]
    theirs = [[False] for _ in range(100)]
    once = Difference.of(ours, theirs)
    copied = Difference.of([each * 9 for each in ours], [each * 9 for each in theirs])
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_equal_sides_differ_by_nothing_though_not_for_certain() -> None:
    """Of five cases, the Wilson interval of a share has 56.6 % where all are right."""
    found = Difference.of([[True]] * 5, [[True]] * 5)
    assert (found.low, found.value, found.high) == pytest.approx((-0.434, 0.0, 0.434), abs=1e-3)
    assert not found.is_clear
    assert Difference.of([], []) == Difference(0.0, -1.0, 1.0, 0)


def test_two_lists_of_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="2 cases on one side and 1"):
        Difference.of([[True], [False]], [[True]])
