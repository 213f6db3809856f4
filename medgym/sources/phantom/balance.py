"""What a check reports, and whether a table of counts is as even as chance makes it."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from medgym.case_checks.report import CheckReport as CheckReport
from medgym.case_checks.report import CheckRow as CheckRow

Progress = Callable[[int, int], None]

ALARM = 0.001
"""A check fails if its figure is less probable than this where nothing is wrong. A run makes some
thirty random checks; at 5 % one of them would fail by chance in most runs."""


LEAST = 5
"""Cases expected in each cell of a table below which chi-square does not hold."""


def quartiles(values: Sequence[float]) -> list[str]:
    """The quarter of all values in which each one lies."""
    if not values:
        return []
    cuts = np.quantile(values, (0.25, 0.5, 0.75))
    return [str(int(np.searchsorted(cuts, value))) for value in values]


def judged(check: str, table: NDArray[np.int_], figure: str) -> CheckRow:
    """A row that says whether a table of counts is even."""
    total = int(table.sum())
    if total < LEAST * table.size:
        return CheckRow(check, "warn", f"{total} cases: too few to tell", "give more cases")
    p = chi_square_p(table)
    figure = "; ".join(filter(None, (figure, f"chi-square p = {p:.3g}, n = {total}")))
    if p < ALARM:
        return CheckRow(check, "fail", figure, "draw it from a seed of its own, in equal shares")
    return CheckRow(check, "pass", figure)


def chi_square_p(table: NDArray[np.int_]) -> float:
    """The probability of so uneven a table: one row against equal shares, more for independence."""
    from scipy.stats import chi2_contingency, chisquare

    if len(table) == 1:
        return float(chisquare(table[0]).pvalue)
    seen = table[:, table.sum(axis=0) > 0]
    return float(chi2_contingency(seen, correction=False).pvalue)
