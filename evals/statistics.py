"""The statistics of judging, each defined once; whatever reports one calls these."""

from collections.abc import Iterable

from medgym.suite import Rate

CONFIDENCE = 0.95


def rate(outcomes: Iterable[bool]) -> Rate:
    """The share of True with its Wilson score interval (no continuity correction).

    Unlike the normal approximation it stays within 0..1 and has a width at 0 % and 100 % too. It
    takes the outcomes as independent: cases of one patient would need a clustered interval. For no
    outcomes the share is 0 and the interval says nothing: 0..1.
    """
    from scipy.stats import binomtest

    seen = [bool(outcome) for outcome in outcomes]
    if not seen:
        return Rate(0.0, 0.0, 1.0, 0)
    test = binomtest(sum(seen), len(seen))
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    return Rate(sum(seen) / len(seen), float(interval.low), float(interval.high), len(seen))
