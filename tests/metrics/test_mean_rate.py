"""Means of scores from 0 to 1."""

import pytest

from medgym.metrics.mean_rate import mean_rate


def test_scores_that_are_all_the_same_keep_an_interval() -> None:
    rate = mean_rate([1.0] * 4, list("abcd"))
    assert (rate.value, rate.n) == (1.0, 4)
    assert rate.low == pytest.approx(0.51, abs=0.01)
    assert mean_rate([0.0] * 4, list("abcd")).high == pytest.approx(0.49, abs=0.01)
    assert mean_rate([0.2, 0.4, 0.9, 1.0], list("abcd")).low > 0
