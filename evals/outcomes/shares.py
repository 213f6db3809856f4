"""Intervals of figures from 0 to 1, as a judgement holds them."""

from medgym.metrics.rate import Rate

from ..statistics.intervals import Interval


def as_share(found: Interval) -> Rate:
    """A figure from 0 to 1 with its interval, which ends there too."""
    return Rate(found.value, max(0.0, found.low), min(1.0, found.high), found.n)
