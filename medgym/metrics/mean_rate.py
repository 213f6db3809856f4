"""The mean of scores from 0 to 1, as a rate with its interval over groups."""

from collections.abc import Hashable, Sequence

from medgym.metrics.intervals import mean_interval
from medgym.metrics.rate import Rate


def mean_rate(scores: Sequence[float], units: Sequence[Hashable]) -> Rate:
    """The mean of at least one score from 0 to 1; where all are 0 or 1 it is a share."""
    if all(score in (0.0, 1.0) for score in scores):
        return Rate.of([score == 1 for score in scores], units)
    found = mean_interval(scores, units, within=(0.0, 1.0))
    return Rate(found.value, found.low, found.high, found.n)
