"""What a benchmark yields, and how two sides are measured against each other.

Whatever else the machine does falls on both sides alike: they take turns, and the median of each
counts. A ratio is always ours over the rival's, whether more or less is better.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medgym.progress import progress


@dataclass(frozen=True)
class Comparison:
    """One figure of ours beside the rival's, in the same unit."""

    metric: str
    value: float
    unit: str
    rival: str
    rival_value: float

    @property
    def ratio(self) -> float:
        """Ours over the rival's."""
        return self.value / self.rival_value

    def plain(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**asdict(self), "ratio": self.ratio}


def in_turns(
    what: str, ours: Callable[[], float], rivals: Callable[[], float], repetitions: int
) -> tuple[float, float]:
    """Measure both sides in turns, ABAB; returns the median of each.

    Args:
        what: is measured, for the progress on stderr.
        ours, rivals: do it once and return its figure.
    """
    figures: tuple[list[float], list[float]] = ([], [])
    with progress(what, 2 * repetitions) as advance:
        for _ in range(repetitions):
            for side, measured in zip((ours, rivals), figures, strict=True):
                measured.append(side())
                advance()
    first, second = (statistics.median(measured) for measured in figures)
    return first, second


def print_comparisons(rows: Sequence[Comparison], machine: str) -> None:
    """A table for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in ("metric", "medgym", "rival", "ratio", "unit", "the rival"):
        words = name in ("metric", "unit", "the rival")
        table.add_column(name, justify="left" if words else "right")
    for row in rows:
        ours, theirs = figure(row.value), figure(row.rival_value)
        table.add_row(row.metric, ours, theirs, figure(row.ratio), row.unit, row.rival)
    width = None if sys.stdout.isatty() else 140
    Console(width=width).print(table)
    print(machine)


def figure(value: float) -> str:
    """Three digits that tell: 1,234; 12.3; 0.00123."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
