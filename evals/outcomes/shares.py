"""Means of columns of outcomes with their intervals over groups, as a judgement holds them."""

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter

import numpy as np

from medgym.metrics.intervals import Interval
from medgym.metrics.mean_rate import mean_rate
from medgym.metrics.rate import Rate

from .columns import NumberColumns
from .outcome import CaseOutcome
from .packed import in_order

Key = tuple[str, str, int]


def as_share(found: Interval) -> Rate:
    """A figure from 0 to 1 with its interval, which ends there too."""
    return Rate(found.value, max(0.0, found.low), min(1.0, found.high), found.n)


def shares(
    outcomes: Iterable[CaseOutcome],
    scorer: str,
    values: Mapping[str, Callable[[CaseOutcome], float | None]],
) -> dict[str, Rate]:
    """The means of values from 0 to 1, by name, over the cases of a scorer that count and have one.

    The order of the outcomes changes no digit.
    """
    rows = (
        (each.key, each.unit, *(value_of(each) for value_of in values.values()))
        for each in outcomes
        if each.scorer == scorer and each.is_counted
    )
    known = NumberColumns((row[1:] for row in in_order(rows, key=itemgetter(0))), len(values))
    means = {}
    for name, column in zip(values, known.values, strict=True):
        there = ~np.isnan(column)
        if there.any():
            means[name] = mean_rate(column[there].tolist(), known.groups(there))
    return means
