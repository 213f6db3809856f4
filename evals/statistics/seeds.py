"""Two recipes, each trained with several seeds, judged on the same cases."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from medgym.errors import UserError
from medgym.metrics.groups import Groups
from medgym.metrics.intervals import Interval
from medgym.metrics.rate import CONFIDENCE, bounds_of_equals

from .paired import Verdict


@dataclass(frozen=True)
class SeededDifference:
    """How the second of two recipes did against the first, over seeds and cases.

    Attributes:
        interval: the mean difference, second less first, with its 95 % interval.
        p: of the test of no difference.
        first, second: the mean of each seed.
        by_cases, by_seeds: the standard errors that come from the draw of cases, and from that of
            seeds.
    """

    interval: Interval
    p: float
    first: tuple[float, ...]
    second: tuple[float, ...]
    by_cases: float
    by_seeds: float

    @property
    def outcome(self) -> Verdict:
        """`win` or `loss` of the second where the interval excludes zero, else `tie`."""
        if not self.interval.excludes_zero:
            return "tie"
        return "win" if self.interval.value > 0 else "loss"


def seeded_difference(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    groups: Sequence[Hashable] | None = None,
) -> SeededDifference:
    """Compare two recipes of which each was trained with several seeds.

    Other cases and other seeds would both give another difference, so the variances of both are
    added: that of the mean over seeds between groups of cases, and that of the mean over cases
    between the seeds of each recipe. What a seed does on single cases is counted in both, so that
    the interval is rather too wide. It takes Student's t with the degrees of freedom of
    Satterthwaite (1946): with two seeds it is wide, as it must be. Where all groups gain the same,
    their variance says nothing, and the part of the cases is as wide as `bounds_of_equals` has it.

    Args:
        first, second: for each seed the score of each case from 0 to 1, all in the same order.
        groups: what each case belongs to; by default each is independent.

    Raises:
        UserError: a recipe has only one seed, or cases do not match.
    """
    from scipy.special import stdtr, stdtrit

    if min(len(first), len(second)) < 2:
        raise UserError(
            "one seed does not say how much seeds differ; fix: name two runs or more of each recipe"
        )
    if len({len(scores) for scores in (*first, *second)}) != 1 or not len(first[0]):
        raise UserError("the runs are not of the same cases; fix: judge all on the same cases")
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    gains = other.mean(axis=0) - one.mean(axis=0)
    table = Groups.of([gains.tolist()], groups)
    value = float(gains.mean())
    if table.count == 1:  # nothing says how much groups differ
        whole = Interval(value, -1.0, 1.0, len(gains), 1)
        return SeededDifference(whole, 1.0, _means(one), _means(other), float("inf"), 0.0)
    off = table.sums[:, 0] - value * table.sizes
    between = table.count / (table.count - 1) * float((off**2).sum()) / len(gains) ** 2
    parts = [(between, table.count - 1)]
    parts += [(float(m.mean(axis=1).var(ddof=1)) / len(m), len(m) - 1) for m in (one, other)]
    variance = sum(part for part, _ in parts)
    variance = variance if variance > 1e-24 else 0.0  # what rounding leaves is none
    error = sqrt(variance)
    freedom = variance**2 / sum(v**2 / df for v, df in parts) if variance else 1.0
    reach = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    low, high = value, value
    if between < 1e-24:
        units: Sequence[Hashable] = range(len(gains)) if groups is None else groups
        low, high = bounds_of_equals(value, -1.0, 1.0, units)
    low, high = max(-1.0, low - reach), min(1.0, high + reach)
    if error:
        p = float(2 * stdtr(freedom, -abs(value) / error))
    else:  # as a test that exchanges the recipes within whole groups has it, mid-p
        p = 0.5**table.count if value else 1.0
    return SeededDifference(
        interval=Interval(value, low, high, len(gains), table.count),
        p=p,
        first=_means(one),
        second=_means(other),
        by_cases=sqrt(between),
        by_seeds=sqrt(max(0.0, variance - between)),
    )


def _means(scores: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> tuple[float, ...]:
    return tuple(float(mean) for mean in scores.mean(axis=1))
