"""Figures of numbers: how near answers are to the gold."""

from collections.abc import Collection

from medgym.metrics.rate import Rate

from ..outcome import CaseOutcome
from ..shares import shares

RELATIVE = "number, relative accuracy"
WITHIN = "number, within 10 %"

_BAND = 0.10


def number_figures(outcomes: Collection[CaseOutcome]) -> dict[str, Rate]:
    """The relative accuracy of numbers, and the share that is off by 10 % of the gold or less;
    nothing where no case asks for a number. What is no number is 0 in both."""

    def within(each: CaseOutcome) -> float | None:
        accuracy = each.relative_accuracy
        return None if accuracy is None else float(accuracy >= 1 - _BAND - 1e-9)

    values = {RELATIVE: lambda each: each.relative_accuracy, WITHIN: within}
    return shares(outcomes, "number", values)
