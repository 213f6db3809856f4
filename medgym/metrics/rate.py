"""A share of cases with its interval."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """A share of cases with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> "Rate":
        """The share of True with its Wilson score interval (no continuity correction).

        Unlike the normal approximation it stays within 0..1 and has a width at 0 % and 100 % too.
        It takes the outcomes as independent: cases of one patient would need a clustered interval.
        For no outcomes the share is 0 and the interval is 0..1.
        """
        from scipy.special import ndtri  # scipy.stats has it ready, and takes a second to import

        seen = [bool(outcome) for outcome in outcomes]
        if not seen:
            return cls(0.0, 0.0, 1.0, 0)
        n, right = len(seen), sum(seen)
        share, z = right / n, float(ndtri(0.5 + CONFIDENCE / 2))
        around = 2 * (n + z**2)
        middle = (2 * n * share + z**2) / around
        half = z / around * sqrt(4 * n * share * (1 - share) + z**2)
        low = middle - half if right else 0.0
        high = middle + half if right < n else 1.0
        return cls(share, low, high, n)

    def as_dict(self) -> dict[str, float]:
        """The rate as JSON holds it: `value`, `low`, `high`, `n`."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
