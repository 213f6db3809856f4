"""A share of cases with its interval."""

from collections.abc import Iterable
from dataclasses import dataclass

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
        from scipy.stats import binomtest

        seen = [bool(outcome) for outcome in outcomes]
        if not seen:
            return cls(0.0, 0.0, 1.0, 0)
        test = binomtest(sum(seen), len(seen))
        interval = test.proportion_ci(CONFIDENCE, method="wilson")
        return cls(sum(seen) / len(seen), float(interval.low), float(interval.high), len(seen))

    def as_dict(self) -> dict[str, float]:
        """The rate as JSON holds it: `value`, `low`, `high`, `n`."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
