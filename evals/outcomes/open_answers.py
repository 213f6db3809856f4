"""Figures of open answers: how many are exact, and how much of the gold they say."""

from collections.abc import Iterable

from medgym.metrics.rate import Rate

from ..statistics.mean_rate import mean_rate
from .outcome import CaseOutcome

EXACT = "open, exact"
F1 = "open, token F1"
RECALL = "open, token recall (padding raises it)"


def open_figures(outcomes: Iterable[CaseOutcome]) -> dict[str, Rate]:
    """Exact answers, token F1 and token recall of the open cases; nothing where there is none.

    Intervals are over groups: of exact answers as of an accuracy, of the other two by bootstrap.
    """
    counted = sorted(
        (each.unit, each.verdict == "right", each.f1, each.recall or 0.0)
        for each in outcomes
        if each.is_counted and each.f1 is not None
    )
    if not counted:
        return {}
    groups, exact, f1, recall = (list(column) for column in zip(*counted, strict=True))
    return {
        EXACT: Rate.of(exact, groups),
        F1: mean_rate(f1, groups),
        RECALL: mean_rate(recall, groups),
    }
