"""95 % intervals of figures that are no means, such as the BLEU of a corpus, over groups."""

from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.metrics.groups import Floats, Groups, rows_at_once
from medgym.metrics.intervals import Interval, are_equal
from medgym.metrics.rate import CONFIDENCE

Weights = NDArray[np.float64]
"""How often each case counts, (rows, cases)."""

SUM_RESAMPLES = 2_000
"""How many data sets are drawn: each costs one call of the figure."""


def figure_interval(
    columns: Sequence[Sequence[float] | Floats],
    groups: Sequence[Hashable] | None,
    figure: Callable[[Floats], Floats],
    *,
    seed: int = 0,
    resamples: int = SUM_RESAMPLES,
) -> Interval:
    """A figure of the sums of columns over cases, with its 95 % interval.

    The ordinary bootstrap of clusters: whole groups are drawn, their values are summed, and the
    figure is made of the sums; the interval holds the middle 95 %. A mean of cases takes
    `mean_interval`, which is exact where there are few groups. Where all data sets give the same
    figure, nothing is known of how far others are from it: the interval has no ends.

    Args:
        columns: values of each case.
        groups: what each case belongs to; by default each is independent.
        figure: makes the figures of rows of sums, (rows, columns) to (rows,).
        seed: of the resampling.
        resamples: how many data sets are drawn.

    Raises:
        UserError: there is no value.
    """
    if not columns or not len(columns[0]):
        raise UserError("there is no case to make a figure of; fix: widen the slice")
    found = Groups.of(columns, groups)
    value = float(figure(found.sums.sum(axis=0)[None])[0])
    if found.count == 1:  # nothing says how much groups differ
        return Interval(value, -np.inf, np.inf, len(columns[0]), 1)
    parts = _drawn(found, np.random.default_rng(seed), resamples)
    drawn = np.concatenate([figure(sums) for sums in parts])
    return _middle(value, drawn, len(columns[0]), found.count)


def _middle(value: float, drawn: Floats, n: int, groups: int) -> Interval:
    """The middle 95 % of what was drawn; without ends where all of it is the same."""
    if are_equal(drawn):
        return Interval(value, -np.inf, np.inf, n, groups)
    tail = 0.5 - CONFIDENCE / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, min(float(low), value), max(float(high), value), n, groups)


def _drawn(groups: Groups, rng: np.random.Generator, resamples: int) -> Iterator[Floats]:
    """The sums of data sets of as many groups, drawn with replacement."""
    shares = np.full(groups.count, 1 / groups.count)
    step = rows_at_once(groups.count)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        yield rng.multinomial(groups.count, shares, rows) @ groups.sums


def weighted_interval(
    figure: Callable[[Weights], Floats],
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = SUM_RESAMPLES,
) -> Interval:
    """A figure of cases that is no mean and no sum, such as an average precision, with its 95 %
    interval by the ordinary bootstrap of clusters; without ends as in `figure_interval`.

    Args:
        figure: makes the figures of rows of weights, (rows, cases) to (rows,); a weight says how
            often a case counts.
        groups: what each case belongs to.
        seed: of the resampling.
        resamples: how many data sets are drawn.

    Raises:
        UserError: there is no case.
    """
    if not groups:
        raise UserError("there is no case to make a figure of; fix: widen the slice")
    numbers: dict[Hashable, int] = {}
    places = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=int)
    value = float(figure(np.ones((1, len(groups))))[0])
    if len(numbers) == 1:
        return Interval(value, -np.inf, np.inf, len(groups), 1)
    rng, shares = np.random.default_rng(seed), np.full(len(numbers), 1 / len(numbers))
    drawn = np.concatenate(
        [
            figure(rng.multinomial(len(numbers), shares, 1)[:, places].astype(np.float64))
            for _ in range(resamples)
        ]
    )
    return _middle(value, drawn, len(groups), len(numbers))
