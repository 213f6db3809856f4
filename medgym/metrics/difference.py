"""By how much one policy does better than another one on the same cases, with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgym.metrics.rate import CONFIDENCE, bounds_of_equals

RESAMPLES = 9999


@dataclass(frozen=True)
class Difference:
    """A mean difference on the same cases with its 95 % interval.

    Attributes:
        value: of shares, so 0.1 is ten percentage points.
        low, high: the interval. n: cases.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(
        cls, ours: Sequence[Sequence[bool]], theirs: Sequence[Sequence[bool]], seed: int = 0
    ) -> "Difference":
        """Ours less theirs, by a bootstrap over cases.

        A case is drawn with all of its outcomes, of both sides: easy cases are easy for both, and
        the outcomes of one case under several seeds are not independent. So the interval is that of
        the cases, for these seeds.

        Args:
            ours, theirs: for each case its outcomes, such as one for each seed; the same cases in
                the same order.
            seed: of the draws.
        """
        from scipy.stats import bootstrap

        if len(ours) != len(theirs):
            raise ValueError(f"{len(ours)} cases on one side and {len(theirs)} on the other")
        if not ours:
            return cls(0.0, -1.0, 1.0, 0)
        gains = np.array([np.mean(a) - np.mean(b) for a, b in zip(ours, theirs, strict=True)])
        value = float(gains.mean())
        if np.ptp(gains) < 1e-12:  # no draw differs from another
            low, high = bounds_of_equals(value, -1.0, 1.0, range(len(gains)))
            return cls(value, low, high, len(gains))
        found = bootstrap(
            (gains,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
        return cls(value, float(found.low), float(found.high), len(gains))

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, float]:
        """The difference as JSON holds it: `value`, `low`, `high`, `n`."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
