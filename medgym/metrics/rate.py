"""A share of cases with its interval."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

CONFIDENCE = 0.95

_QUANTILE = 1.959963984540054
"""Of the normal distribution at 1/2 + CONFIDENCE / 2, as `scipy.special.ndtri` gives it. To import
scipy takes as long as a hundred replies of a server."""


@dataclass(frozen=True)
class Rate:
    """A share of cases with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, outcomes: Iterable[bool], groups: Sequence[Hashable] | None = None) -> "Rate":
        """The share of True with its Wilson score interval (no continuity correction).

        Unlike the normal approximation it stays within 0..1 and has a width at 0 % and 100 % too.
        For no outcomes the share is 0 and the interval is 0..1.

        Args:
            outcomes: one of each case.
            groups: what each case belongs to, such as its patient. Cases of one group are not
                independent: the interval then counts as many independent cases as would give the
                share the variance that it has between groups, never more than there are, and takes
                the quantile of Student's t with one degree of freedom less than there are groups
                (the modified Wilson interval for clustered data, Saha, Miller and Wang 2016). By
                default, and where each case is a group of its own, all are independent.
        """
        return cls.of_parts(((bool(outcome), 1) for outcome in outcomes), groups)

    @classmethod
    def of_parts(
        cls, parts: Iterable[tuple[int, int]], groups: Iterable[Hashable] | None = None
    ) -> "Rate":
        """As `of`, of cases with several outcomes each, such as the calls of an episode.

        Args:
            parts: of each case how many outcomes are True, and how many there are.
            groups: what each case belongs to.
        """
        if groups is None:
            right = n = 0
            for won, size in parts:
                right, n = right + won, n + size
            return cls._wilson(right, n, float(n), _QUANTILE) if n else cls(0.0, 0.0, 1.0, 0)
        members: dict[Hashable, tuple[int, int]] = {}
        shared: dict[tuple[int, int], tuple[int, int]] = {}  # groups have the same few
        for (won, size), group in zip(parts, groups, strict=True):
            if size:
                before = members.get(group, (0, 0))
                now = before[0] + won, before[1] + size
                members[group] = shared.setdefault(now, now)
        right, n = (sum(member[at] for member in members.values()) for at in (0, 1))
        if not n:
            return cls(0.0, 0.0, 1.0, 0)
        share, count = right / n, len(members)
        if count == n:
            return cls._wilson(right, n, float(n), _QUANTILE)
        if count == 1:  # nothing says how much groups differ
            return cls(share, 0.0, 1.0, n)
        squares = sum((won - share * size) ** 2 for won, size in members.values())
        return cls._wilson(right, n, *_spread(share, n, count, squares))

    @classmethod
    def _wilson(cls, right: int, n: int, independent: float, z: float) -> "Rate":
        """The interval of Wilson for so many independent cases."""
        share = right / n
        around = 2 * (independent + z**2)
        middle = (2 * independent * share + z**2) / around
        half = z / around * sqrt(4 * independent * share * (1 - share) + z**2)
        low = middle - half if right else 0.0
        high = middle + half if right < n else 1.0
        return cls(share, low, high, n)

    def as_dict(self) -> dict[str, float]:
        """The rate as JSON holds it: `value`, `low`, `high`, `n`."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True)
class Amount(Rate):
    """A mean in a unit, such as millimetres, with its 95 % interval; no share of cases.

    `high` is infinite where nothing says how much cases differ.
    """

    unit: str = ""

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> "Amount":
        """The amount that `as_dict` gave."""
        return cls(**{**held, "high": inf if held["high"] is None else held["high"]})

    def as_dict(self) -> dict[str, Any]:
        """The amount as JSON holds it: `value`, `low`, `high` (null where it is infinite), `n`,
        `unit`."""
        high = self.high if self.high < inf else None
        return {**super().as_dict(), "high": high, "unit": self.unit}


def bounds_of_equals(
    value: float, lowest: float, highest: float, groups: Sequence[Hashable]
) -> tuple[float, float]:
    """The ends of the 95 % interval of a mean whose values are all the same.

    No resampling sees how much values can differ then. At least so many are like these as the
    interval of a share says where all are right (`Rate.of`); the others may be anything.

    Args:
        value: the mean. lowest, highest: what a value can be.
        groups: what each case belongs to. Of one group nothing is known.
    """
    alike = Rate.of([True] * len(groups), groups).low
    return value * alike + lowest * (1 - alike), value * alike + highest * (1 - alike)


class RunningRate:
    """A share of cases with its interval, asked for again and again while cases come.

    It is that of `Rate.of`, up to rounding, and takes no longer the more cases there are. It keeps
    some 80 bytes for each group.
    """

    def __init__(self) -> None:
        self._members: dict[int, tuple[int, int]] = {}  # by the hash of a group: right ones, all
        self._shared: dict[tuple[int, int], tuple[int, int]] = {}  # groups have the same few
        self._right = self._n = 0
        self._right_squared = self._right_size = self._size_squared = 0

    def add(self, is_right: bool, group: Hashable) -> None:
        """Take one more case."""
        right, size = self._members.get(hash(group), (0, 0))
        won = int(is_right)
        now = right + won, size + 1
        self._members[hash(group)] = self._shared.setdefault(now, now)
        self._right += won
        self._n += 1
        self._right_squared += won * (2 * right + 1)
        self._right_size += won * (size + 1) + right
        self._size_squared += 2 * size + 1

    @property
    def rate(self) -> Rate:
        """The share of right cases among those that came."""
        if not self._n:
            return Rate.of([])
        count, n, share = len(self._members), self._n, self._right / self._n
        if count == n:
            return Rate._wilson(self._right, n, float(n), _QUANTILE)
        if count == 1:
            return Rate(share, 0.0, 1.0, n)
        squares = self._right_squared - 2 * share * self._right_size + share**2 * self._size_squared
        return Rate._wilson(self._right, n, *_spread(share, n, count, max(squares, 0.0)))


def _spread(share: float, n: int, count: int, squares: float) -> tuple[float, float]:
    """How many independent cases would give the share its variance, and the quantile of t.

    `squares` is the sum of those of the right cases in each of `count` groups, less those that the
    share would give it.
    """
    from scipy.special import stdtrit

    variance = count / (count - 1) * squares / n**2
    quantile = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2))
    if not variance:  # all right, or all wrong, or equally often right in each group
        return float(count), quantile
    return min(share * (1 - share) / variance, float(n)), quantile
