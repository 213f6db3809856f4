"""95 % intervals of means over cases, by bootstrap over groups."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from medgym.errors import UserError
from medgym.metrics.groups import RESAMPLES, Floats, Groups
from medgym.metrics.rate import CONFIDENCE, bounds_of_equals


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval.

    Attributes:
        value: the figure. low, high: the ends of the interval.
        n: the number of cases. groups: of groups, which were resampled.
    """

    value: float
    low: float
    high: float
    n: int
    groups: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, float]:
        """The interval as JSON holds it: `value`, `low`, `high`, `n`, `groups`."""
        return dict(vars(self))


def mean_interval(
    values: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    within: tuple[float, float] = (-np.inf, np.inf),
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of values over cases with its 95 % interval, by bootstrap over groups.

    Bias-corrected and accelerated (Efron 1987), and wider by the quantile of Student's t where
    there are few groups, or few large ones. For shares of right answers take `Rate.of`, which holds
    near 0 and 1 too, and for their differences `difference_interval`.
    Where all groups are alike, a bootstrap sees no variance: see `bounds_of_equals`.

    Args:
        values: one for each case: a token F1, a reward, the difference of two policies.
        groups: what each case belongs to; by default each is independent.
        within: what a value can be. The interval ends there, too.
        seed: of the resampling.

    Raises:
        UserError: there is no value.
    """
    if not len(values):
        raise UserError("there is no case to take a mean of; fix: widen the slice")
    found = Groups.of([values], groups)
    value = float(found.means[0])
    if found.count == 1:  # nothing says how much groups differ
        return Interval(value, *within, len(values), 1)
    drawn = found.resampled_means(np.random.default_rng(seed), resamples)[:, 0]
    if are_equal(drawn):
        units: Sequence[Hashable] = range(len(values)) if groups is None else groups
        low, high = bounds_of_equals(value, *within, units)
    else:
        low, high = _bounds(value, drawn, found.means_without_each()[:, 0])
        wider = _wider(found)
        low, high = value - wider * (value - low), value + wider * (high - value)
    return Interval(value, max(low, within[0]), min(high, within[1]), len(values), found.count)


def difference_interval(
    gains: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of gains from -1 to 1 over cases with its 95 % interval, by bootstrap over groups.

    A gain is the difference of two shares of right answers to a case: of one answer each it is 1, 0
    or -1.

    Where few cases differ, draws of these alone say too little of how many could: an interval that
    leaves out zero would be far more frequent than 5 % between equal policies. So two cases are
    added before the groups are drawn, one gained and one lost (as to the interval of Bonett and
    Price 2012), and the middle 95 % of the draws is taken, wider as in `mean_interval`. Each of the
    two counts as many cases as say what one independent case says (see `_alike`): beside groups of
    30 cases, two single ones would be nothing. The value is that of the gains as they are.

    Raises:
        UserError: there is no case.
    """
    if not len(gains):
        raise UserError("there is no case to take a mean of; fix: widen the slice")
    units: list[Hashable] = [*range(len(gains))] if groups is None else [*groups]
    found = Groups.of([gains], units)
    value = float(found.means[0])
    if found.count == 1:  # nothing says how much groups differ
        return Interval(value, -1.0, 1.0, len(gains), 1)
    weight = _alike(gains, found)
    more = Groups(
        np.append(found.sums, [[weight], [-weight]], axis=0),
        np.append(found.sizes, [weight, weight]),
    )
    drawn = more.resampled_means(np.random.default_rng(seed), resamples)[:, 0]
    tail, middle, wider = 0.5 - CONFIDENCE / 2, float(more.means[0]), _wider(more)
    ends = [middle + wider * (float(q) - middle) for q in np.quantile(drawn, (tail, 1 - tail))]
    if len({*gains}) == 1:
        ends += bounds_of_equals(value, -1.0, 1.0, units)
    low, high = max(-1.0, min(*ends, value)), min(1.0, max(*ends, value))
    return Interval(value, low, high, len(gains), found.count)


def are_equal(drawn: Floats) -> bool:
    """Whether the figures of all resampled data sets are the same, up to rounding."""
    return bool(np.ptp(drawn) <= 1e-12 * max(1.0, float(np.abs(drawn).max())))


def _wider(groups: Groups) -> float:
    """By how much an interval of these groups is too narrow when it takes normal quantiles, and
    the variance between them for that of the jackknife, in which no large group hides its own."""
    from scipy.special import ndtri, stdtrit

    tail = 0.5 + CONFIDENCE / 2
    quantile = stdtrit(max(groups.alike - 1, 1.0), tail) / ndtri(tail)
    off = groups.sums[:, 0] - groups.means[0] * groups.sizes
    left_out = off / (1 - groups.sizes / groups.sizes.sum())
    larger = (left_out**2).sum() / (off**2).sum() * (groups.count - 1) / groups.count
    return float(quantile * np.sqrt(larger))


def _alike(gains: Sequence[float], groups: Groups) -> float:
    """How many cases of these groups say as much as one independent case does.

    It is the variance of the mean between groups, by the jackknife, over that of independent cases.
    Where this variance rests on few groups, such as the two in which a policy lost, it says little,
    and the more counts the worst, that all cases of a group are alike (as in `Rate.of`).
    """
    off = groups.sums[:, 0] - groups.means[0] * groups.sizes
    n, count = groups.sizes.sum(), groups.count
    spread = float(np.var(gains, ddof=1))
    effect, rests_on = 1.0, 0.0
    if spread and off.any():
        left_out = off / (1 - groups.sizes / n)
        effect = max(1.0, float((left_out**2).sum()) * (count - 1) / count / (n * spread))
        rests_on = float((off**2).sum() ** 2 / (off**4).sum())
    unknown = 1 / (1 + rests_on)
    return float(effect ** (1 - unknown) * max(effect, n / groups.alike) ** unknown)


def _bounds(value: float, drawn: Floats, without: Floats) -> tuple[float, float]:
    """The ends of the BCa interval of a mean."""
    from scipy.special import ndtr, ndtri

    below = (np.mean(drawn < value) + np.mean(drawn <= value)) / 2
    bias = ndtri(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn)))
    off = without.mean() - without
    squares = (off**2).sum()
    acceleration = (off**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
    tails = ndtri(np.array([0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2]))
    moved = ndtr(bias + (bias + tails) / (1 - acceleration * (bias + tails)))
    low, high = np.quantile(drawn, moved)
    return float(low), float(high)
