"""Figures of open answers: how many are exact, and how much of the gold they say."""

from collections.abc import Iterable

from medgym.metrics.mean_rate import mean_rate
from medgym.metrics.rate import Rate

from .columns import NumberColumns
from .outcome import CaseOutcome
from .packed import in_order

EXACT = "open, exact"
F1 = "open, token F1"
RECALL = "open, token recall (padding raises it)"


def open_figures(outcomes: Iterable[CaseOutcome]) -> dict[str, Rate]:
    """Exact answers, token F1 and token recall of the open cases; nothing where there is none.

    Intervals are over groups: of exact answers as of an accuracy, of the other two by bootstrap.
    """
    rows = (
        (each.unit, each.verdict == "right", each.f1, each.recall or 0.0)
        for each in outcomes
        if each.is_counted and each.f1 is not None
    )
    counted = NumberColumns(in_order(rows), 3)
    groups = counted.groups()
    if not groups:
        return {}
    exact, f1, recall = counted.values
    return {
        EXACT: Rate.of((exact == 1).tolist(), groups),
        F1: mean_rate(f1.tolist(), groups),
        RECALL: mean_rate(recall.tolist(), groups),
    }
