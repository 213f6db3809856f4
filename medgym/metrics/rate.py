"""A share of cases with its interval."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

CONFIDENCE = 0.95

_QUANTILE = 1.959963984540054
"""Of the normal distribution at 1/2 + CONFIDENCE / 2, as `scipy.special.ndtri` gives it. To import
scipy takes as long as a hundred replies of a server."""

Kind = tuple[int, int]
"""Of a group of cases: how many are right, and how many there are."""

_ALIKE = 0.5
"""How many groups the guess weighs that all cases of a group are alike."""


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
                a quantile of Student's t (the modified Wilson interval for clustered data, Saha,
                Miller and Wang 2016; see `_independent`). By default, and where each case is a
                group of its own, all are independent.
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
        if len(members) == n:
            return cls._wilson(right, n, float(n), _QUANTILE)
        if len(members) == 1:  # nothing says how much groups differ
            return cls(right / n, 0.0, 1.0, n)
        return cls._wilson(right, n, *_independent(Counter(members.values())))

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

    It is that of `Rate.of`, up to rounding, and takes hardly longer the more cases there are. It
    keeps some 80 bytes for each group.
    """

    def __init__(self) -> None:
        self._members: dict[int, Kind] = {}  # by the hash of a group
        self._kinds: Counter[Kind] = Counter()
        self._shared: dict[Kind, Kind] = {}  # many groups have the same few
        self._right = self._n = 0

    def add(self, is_right: bool, group: Hashable) -> None:
        """Take one more case."""
        before = self._members.get(hash(group), (0, 0))
        now = before[0] + is_right, before[1] + 1
        self._members[hash(group)] = self._shared.setdefault(now, now)
        self._kinds[now] += 1
        if before[1]:
            self._kinds[before] -= 1
            if not self._kinds[before]:  # else a large group would leave all that it has been
                del self._kinds[before], self._shared[before]
        self._right += is_right
        self._n += 1

    @property
    def rate(self) -> Rate:
        """The share of right cases among those that came."""
        if not self._n:
            return Rate.of([])
        count, n = len(self._members), self._n
        if count == n:
            return Rate._wilson(self._right, n, float(n), _QUANTILE)
        if count == 1:
            return Rate(self._right / n, 0.0, 1.0, n)
        return Rate._wilson(self._right, n, *_independent(self._kinds))


def _independent(kinds: Mapping[Kind, int]) -> tuple[float, float]:
    """How many independent cases would say as much of the share, and the quantile of t.

    The variance between groups is that of the jackknife, which leaves out one group after the
    other: a large group pulls the share towards itself, so that without this its variance would be
    too small. The degrees of freedom are one less than the number of groups of one size that would
    say as much (Kish 1965), since of unequal groups the few large ones decide.

    Where right cases, or wrong ones, stand in few groups only, the variance between these says
    little of how alike the cases of a group are. So the more these are few, the more counts the
    worst, that all cases of a group are alike; where all are right, nothing else is known.
    """
    from scipy.special import stdtrit

    rows = sorted((right, size, times) for (right, size), times in kinds.items() if times)
    n = sum(size * times for _, size, times in rows)
    count = sum(times for *_, times in rows)
    share = sum(right * times for right, _, times in rows) / n
    alike = n**2 / sum(size**2 * times for _, size, times in rows)
    effect = 1.0
    if 0 < share < 1:
        off = sum(
            times * ((right - share * size) / (1 - size / n)) ** 2 for right, size, times in rows
        )
        effect = max(1.0, off * (count - 1) / count / (n * share * (1 - share)))
    with_right = sum(times for right, _, times in rows if right)
    with_wrong = sum(times for right, size, times in rows if right < size)
    unknown = _ALIKE / (_ALIKE + min(with_right, with_wrong))
    effect = effect ** (1 - unknown) * max(effect, n / alike) ** unknown
    return n / effect, float(stdtrit(max(alike - 1, 1.0), 0.5 + CONFIDENCE / 2))
