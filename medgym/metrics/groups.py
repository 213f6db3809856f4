"""Figures of cases, added up over groups, and resampled by group."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 10_000
"""How many data sets a bootstrap draws, and how many sign flips a permutation test tries."""

_AT_ONCE = 500_000
"""Counts of drawn groups that are held in memory at once, in rows by `rows_at_once`."""


def rows_at_once(groups: int) -> int:
    """How many resampled data sets of so many groups are drawn at once: a multiple of 16, so that
    the means of each are added up in the same way wherever it stands."""
    return max(16, _AT_ONCE // max(groups, 1) // 16 * 16)


@dataclass(frozen=True)
class Groups:
    """Values of cases, summed within each group.

    Attributes:
        sums: of the values of each group, (groups, columns).
        sizes: how many cases each group has, (groups,).
    """

    sums: Floats
    sizes: Floats

    @classmethod
    def of(
        cls, values: Sequence[Sequence[float] | Floats], groups: Sequence[Hashable] | None
    ) -> "Groups":
        """Add up values by group.

        Args:
            values: columns of one value for each case.
            groups: what each case belongs to; by default each is independent.
        """
        table = np.array(values, dtype=np.float64).T.reshape(-1, len(values))
        if groups is None:
            return cls(table, np.ones(len(table)))
        numbers: dict[Hashable, int] = {}
        numbered = (numbers.setdefault(group, len(numbers)) for group in groups)
        places = np.fromiter(numbered, dtype=int, count=len(groups))
        sums = np.zeros((len(numbers), table.shape[1]))
        np.add.at(sums, places, table)
        return cls(sums, np.bincount(places, minlength=len(numbers)).astype(np.float64))

    @property
    def count(self) -> int:
        """The number of groups."""
        return len(self.sizes)

    @property
    def means(self) -> Floats:
        """The mean of each column over all cases."""
        found: Floats = self.sums.sum(axis=0) / self.sizes.sum()
        return found

    @property
    def alike(self) -> float:
        """How many groups of one size would say as much, if all cases of a group were alike."""
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())

    def resampled_means(self, rng: np.random.Generator, resamples: int = RESAMPLES) -> Floats:
        """The means of data sets of as many groups, drawn with replacement: (resamples, columns).

        The ordinary bootstrap of clusters (Davison and Hinkley 1997, section 3.8): whole groups are
        drawn, and the mean is over the cases that they bring.
        """
        parts = list(self._drawn(rng, resamples))
        return np.concatenate(parts)

    def _drawn(self, rng: np.random.Generator, resamples: int) -> Iterator[Floats]:
        step = rows_at_once(self.count)
        shares = np.full(self.count, 1 / self.count)
        for first in range(0, resamples, step):
            drawn = rng.multinomial(self.count, shares, min(step, resamples - first))
            yield (drawn @ self.sums) / (drawn @ self.sizes)[:, None]

    def independent(self, values: Sequence[float]) -> float:
        """How many independent cases would give the mean of these values the variance that it has
        between groups: at most as many as there are.

        Args:
            values: of each case, those whose sums are the first column.
        """
        spread = float(np.var(values)) if len(values) else 0.0
        off = self.sums[:, 0] - self.means[0] * self.sizes
        between = float((off**2).sum()) * self.count / max(self.count - 1, 1) / len(values) ** 2
        return min(float(len(values)), spread / between) if between else float(self.count)

    def means_without_each(self) -> Floats:
        """The means of the data sets that lack one group: (groups, columns)."""
        left = self.sums.sum(axis=0) - self.sums
        found: Floats = left / (self.sizes.sum() - self.sizes)[:, None]
        return found
