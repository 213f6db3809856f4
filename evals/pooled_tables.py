"""Recipes of several seeds, compared, as tables in the terminal and as JSON."""

from collections.abc import Sequence
from math import isfinite
from statistics import stdev
from typing import Any

from medgym.commands.printing import WIDTH, percent, print_columns, safe_line

from .pooled import PooledCompared

DIFFERENCE = ("first", "second", "difference", "95 % interval", "p", "verdict")
SEEDS = ("seeds", "mean", "lowest", "highest", "sd, points")


def print_pooled(
    first: Sequence[str], second: Sequence[str], rows: Sequence[PooledCompared], lenient: bool
) -> None:
    """Print how the runs of the second recipe did against those of the first."""
    title = f"{', '.join(second)} against {', '.join(first)}"
    print(safe_line(title, None) + (", read leniently" * lenient))
    lines = []
    for each in rows:
        found = each.difference
        gap = found.interval
        means = (sum(side) / len(side) for side in (found.first, found.second))
        lines.append((
            each.benchmark or "all", str(gap.n), *map(percent, means), f"{100 * gap.value:+.1f}",
            f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}", p_value(each.adjusted),
            found.outcome,
        ))  # fmt: skip
    print_columns(("benchmark", rows[0].counted, *DIFFERENCE), lines, WIDTH)
    spread = []
    for each in rows:
        for side, means_of in (
            ("first", each.difference.first),
            ("second", each.difference.second),
        ):
            name = f"{each.benchmark}, {side}" if each.benchmark else side
            spread.append((
                name, str(len(means_of)), percent(sum(means_of) / len(means_of)),
                percent(min(means_of)), percent(max(means_of)), f"{100 * stdev(means_of):.1f}",
            ))  # fmt: skip
    print_columns(("between seeds", *SEEDS), spread, WIDTH)
    holm = ", adjusted over the benchmarks (Holm)" * (len(rows) > 1)
    print(f"The interval is over groups of cases and over seeds; p is of its t test{holm}.")
    for each in rows:
        found, where = each.difference, f"{each.benchmark}: " if each.benchmark else ""
        if isfinite(found.by_cases):
            print(
                f"{where}standard error {100 * found.by_cases:.1f} points by cases, "
                f"{100 * found.by_seeds:.1f} by seeds"
            )
        else:
            print(f"{where}all cases are of one group, which does not say how much groups differ")
        if each.left_out:
            print(f"{where}{each.left_out} {each.counted} left out: some run could not play them")


def pooled_as_dict(each: PooledCompared) -> dict[str, Any]:
    """The comparison on one benchmark as JSON holds it."""
    found = each.difference
    return {
        "benchmark": each.benchmark,
        "first": list(found.first),
        "second": list(found.second),
        "difference": {
            "interval": found.interval.as_dict(), "p": found.p, "outcome": found.outcome,
            "by_cases": found.by_cases if isfinite(found.by_cases) else None,
            "by_seeds": found.by_seeds,
        },
        "adjusted": each.adjusted,
        "left_out": each.left_out,
    }  # fmt: skip


def p_value(value: float) -> str:
    """A p as it is printed."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
