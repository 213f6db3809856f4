"""Means of columns of outcomes with their intervals over groups, as a judgement holds them."""

from collections.abc import Callable, Hashable, Iterable, Mapping

from medgym.metrics.rate import Rate

from ..statistics.intervals import Interval
from ..statistics.mean_rate import mean_rate
from .outcome import CaseOutcome

Key = tuple[str, str, int]


def as_share(found: Interval) -> Rate:
    """A figure from 0 to 1 with its interval, which ends there too."""
    return Rate(found.value, max(0.0, found.low), min(1.0, found.high), found.n)


def shares(
    outcomes: Iterable[CaseOutcome],
    scorer: str,
    values: Mapping[str, Callable[[CaseOutcome], float | None]],
) -> dict[str, Rate]:
    """The means of values from 0 to 1, by name, over the cases of a scorer that count and have one.

    The order of the outcomes changes no digit.
    """
    found: dict[str, list[tuple[Key, Hashable, float]]] = {}
    for each in outcomes:
        if each.scorer != scorer or not each.is_counted:
            continue
        for name, value_of in values.items():
            if (value := value_of(each)) is not None:
                found.setdefault(name, []).append((each.key, each.unit, float(value)))
    means = {}
    for name in values:
        if rows := sorted(found.get(name, []), key=lambda row: row[0]):
            means[name] = mean_rate([value for *_, value in rows], [unit for _, unit, _ in rows])
    return means
