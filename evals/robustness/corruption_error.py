"""Errors under corruptions, over severities: the drop from clean, or BE and rBE.

For a corruption with error E over its severities, and the error C on the clean cases:

    drop = E - C
    BE  = E / E of the reference
    rBE = (E - C) / (E - C) of the reference

Their means are over the corruptions that have them. Where the reference makes no error there is no
BE, and where it loses nothing no rBE: a negative rBE would not say who is better. MedMNIST-C takes
balanced errors of classes, and the AlexNet of each data set as the reference. Here the error is 1
less the accuracy, because open answers have no classes, and the reference is a run that the user
names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.metrics.groups import Floats, Groups
from medgym.metrics.intervals import Interval, are_equal
from medgym.metrics.rate import bounds_of_equals

from .figures import ABSENT, Marks, Unit, finite

MEAN = "mean"
"""The row of all corruptions together."""

_ROUNDING = 1e-9
"""Above what two equal means differ by, and below any share of cases."""

Levels = Mapping[str, Sequence[Marks]]
"""For each corruption what became of the cases at each of its severities."""


@dataclass(frozen=True)
class CorruptionError:
    """What a corruption does, over its severities.

    Attributes:
        name: of the corruption, or `MEAN`.
        drop: the error less that on the clean cases.
        be, rbe: against the reference; None without one. Where the reference makes no error, or
            does not lose by the corruption, there is no ratio: not a number.
    """

    name: str
    drop: Interval
    be: Interval | None = None
    rbe: Interval | None = None

    def as_dict(self) -> dict[str, Any]:
        """The figures as a row of `results.json`."""
        found: dict[str, Any] = {"corruption": self.name, "drop": finite(self.drop)}
        if self.be is not None and self.rbe is not None:
            found |= {"BE": finite(self.be), "rBE": finite(self.rbe)}
        return found


def corruption_errors(
    units: Sequence[Unit],
    clean: Marks,
    corrupted: Levels,
    reference: tuple[Marks, Levels] | None = None,
    *,
    seed: int = 0,
) -> list[CorruptionError]:
    """One row for each corruption, then one of their mean; intervals by bootstrap over groups.

    Args:
        units: what each case is not independent of.
        clean, corrupted: of the policy.
        reference: the same of the reference run.
    """
    columns: list[NDArray[np.float64]] = []
    for name, levels in corrupted.items():
        sides = [(clean, levels)]
        if reference is not None:
            sides.append((reference[0], reference[1][name]))
        every = [each.right for start, found in sides for each in (start, *found)]
        shared = np.all([right != ABSENT for right in every], axis=0)
        for start, found in sides:
            error = np.mean([each.right != 1 for each in found], axis=0)
            columns += [error * shared, (start.right != 1) * shared * 1.0]
        columns.append(shared * 1.0)
    if not columns:
        return []
    groups = Groups.of([column.tolist() for column in columns], units)
    width = 3 if reference is None else 5
    values = _figures(groups.means[None, :], width)
    drawn = _figures(groups.resampled_means(np.random.default_rng(seed)), width)
    drawn = [_with_mean(each, value) for each, value in zip(drawn, values, strict=True)]
    values = [_with_mean(value, value) for value in values]
    counts = [int(column.sum()) for column in columns[width - 1 :: width]]
    rows = []
    for at, (name, count) in enumerate(
        zip((*corrupted, MEAN), (*counts, max(counts)), strict=True)
    ):
        drop, *ratios = (
            _interval(
                float(value[0, at]), resampled[:, at], count, groups.count, is_ratio=bool(place)
            )
            for place, (value, resampled) in enumerate(zip(values, drawn, strict=True))
        )
        if np.isinf(drop.low) and groups.count > 1 and np.isfinite(drop.value):
            low, high = bounds_of_equals(drop.value, -1.0, 1.0, range(min(count, groups.count)))
            drop = replace(drop, low=low, high=high)
        rows.append(CorruptionError(name, drop, *ratios))
    return rows


def _figures(means: Floats, width: int) -> list[Floats]:
    """The drop, and with a reference BE and rBE, of each corruption: arrays of (data sets,
    corruptions)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = means[:, width - 1 :: width]
        error, start = means[:, 0::width], means[:, 1::width]
        found = [(error - start) / share]
        if width == 5:
            other, other_start = means[:, 2::width], means[:, 3::width]
            found += [_ratio(error, other), _ratio(error - start, other - other_start)]
    return found


def _ratio(above: Floats, below: Floats) -> Floats:
    """A ratio; not a number where the reference makes no error, or does not lose by it. Equal means
    differ by their rounding, which is no loss."""
    return above / np.where(below > _ROUNDING, below, np.nan)


def _with_mean(each: Floats, values: Floats) -> Floats:
    """A further column: the mean over the corruptions that have the figure, by `values`. A data set
    that lacks one of these has no mean."""
    known = np.isfinite(values[0])
    mean = each[:, known].mean(axis=1) if known.any() else np.full(len(each), np.nan)
    found: Floats = np.column_stack([each, mean])
    return found


def _interval(value: float, drawn: Floats, n: int, groups: int, *, is_ratio: bool) -> Interval:
    """The percentile interval, of the data sets that have the figure. Without ends where it is the
    same in all of them, and of a ratio that more of them lack than lie beyond an end: then nothing
    bounds it."""
    known = drawn[np.isfinite(drawn)]
    is_open = is_ratio and known.size < 0.975 * drawn.size
    if groups == 1 or not known.size or is_open or are_equal(known):
        return Interval(value, -np.inf, np.inf, n, groups)
    low, high = np.quantile(known, (0.025, 0.975))
    return Interval(value, float(low), float(high), n, groups)
