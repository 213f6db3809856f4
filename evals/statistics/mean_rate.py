"""The mean of scores from 0 to 1, as a rate with its interval over groups."""

from collections.abc import Hashable, Sequence

from medgym.metrics.rate import Rate

from .intervals import mean_interval


def mean_rate(scores: Sequence[float], units: Sequence[Hashable]) -> Rate:
    """The mean of at least one score from 0 to 1.

    Where all are the same, a bootstrap sees no variance. Then at least as many scores as the Wilson
    interval says are that, and the others may be anything.
    """
    found = mean_interval(scores, units)
    low, high = max(0.0, found.low), min(1.0, found.high)
    if min(scores) == max(scores):
        alike = Rate.of([True] * len(scores), units).low
        low, high = scores[0] * alike, scores[0] * alike + 1 - alike
    return Rate(found.value, low, high, found.n)
