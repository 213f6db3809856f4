"""How far two sets of labels of the same things agree: Cohen's kappa with its interval."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medgym.metrics.groups import RESAMPLES, Floats, Groups
from medgym.metrics.rate import CONFIDENCE, Rate


@dataclass(frozen=True)
class RaterAgreement:
    """How two raters agree.

    Attributes:
        share: of things to which both gave the same label.
        kappa: Cohen's, which is 0 for agreement by chance; None where neither rater ever gave a
            second label, so that chance alone agrees always. low, high: its 95 % interval by
            bootstrap over groups; None where there is only one group, or no draw differs from
            another.
        table: how often the second rater gave each label, by the label of the first one.
    """

    share: Rate
    kappa: float | None
    low: float | None
    high: float | None
    table: Mapping[str, Mapping[str, int]]

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it. Without an interval, kappa is a number or null."""
        kappa: Any = self.kappa
        if self.low is not None:
            kappa = {"value": kappa, "low": self.low, "high": self.high, "n": self.share.n}
        rows = [{"rule": label, **counts} for label, counts in self.table.items()]
        return {"share": self.share.as_dict(), "kappa": kappa, "table": rows}


def agreement(
    first: Sequence[str],
    second: Sequence[str],
    groups: Sequence[Hashable],
    *,
    merged: Mapping[str, str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> RaterAgreement | None:
    """How two raters agree; None where there is nothing that both have labelled.

    Args:
        first, second: their labels of the same things.
        groups: what each thing belongs to; those of one group are not independent.
        merged: labels of the second rater that count as another one, such as partly as wrong. The
            table keeps them apart.
    """
    if not first:
        return None
    other = [(merged or {}).get(label, label) for label in second]
    same = [one == two for one, two in zip(first, other, strict=True)]
    table = {
        label: dict(Counter(two for one, two in zip(first, second, strict=True) if one == label))
        for label in dict.fromkeys(first)
    }
    labels = sorted({*first, *other})
    columns: list[list[float]] = [[float(each) for each in same]]
    for rater in (first, other):
        columns += [[float(label == each) for each in rater] for label in labels]
    found = Groups.of(columns, groups)
    value, share = _kappa(found.means[None])[0], Rate.of(same, groups)
    low = high = None
    if found.count > 1 and not np.isnan(value):
        drawn = _kappa(found.resampled_means(np.random.default_rng(seed), resamples))
        tail = (1 - CONFIDENCE) / 2
        low, high = map(float, np.nanquantile(drawn, (tail, 1 - tail)))
        if share.value == 1:  # a bootstrap sees no variance; the share's interval has one
            low = min(low, 1 - (1 - share.low) / (1 - _chance(found.means[None])[0]))
        elif high - low < 1e-12:
            low = high = None
    kappa = None if np.isnan(value) else float(value)
    return RaterAgreement(share, kappa, low, high, table)


def _chance(means: Floats) -> Floats:
    """How often two raters agree by chance, of rows of means: of agreement, then of the labels of
    the one and of the other."""
    one, other = np.split(means[:, 1:], 2, axis=1)
    found: Floats = (one * other).sum(axis=1)
    return found


def _kappa(means: Floats) -> Floats:
    """Kappa of rows of means, as `_chance` takes them; NaN where chance agrees always."""
    chance = _chance(means)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (means[:, 0] - chance) / (1 - chance)
    return np.where(chance > 1 - 1e-12, np.nan, found)
