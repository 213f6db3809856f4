"""Subgroups and calibration as tables in the terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from medgym.commands.printing import WIDTH, percent, print_columns

from ..reports.figures import bounds
from .calibrated import SOURCES
from .results import Breakdown
from .subgroups import SMALL, Subgroups

SUBGROUP = ("episodes", "groups", "right", "95 % interval", "leniently")
"""Headings of `subgroup_rows`, after the kind."""

SMALL_GROUPS = f"* fewer than {SMALL} groups: one patient moves such a figure"

CALIBRATION = ("answers", "ECE", "95 % interval", "overconfidence", "Brier", "right at half")
"""Headings of `calibration_rows`, after where the confidence comes from."""


def subgroup_rows(found: Subgroups, kind: str) -> list[tuple[str, ...]]:
    """One row for each value of a kind, the largest first; a small one has a star."""
    rows: list[tuple[str, ...]] = []
    for value, figures in found.get(kind, {}).items():
        rate, lenient = figures["accuracy"], figures["read leniently"]
        rows.append((
            value + " *" * bool(figures.get("small")), f"{rate['n']:,}", f"{figures['groups']:,}",
            percent(rate["value"]), bounds(rate), percent(lenient["value"]),
        ))  # fmt: skip
    return rows


def calibration_rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """One row for each confidence that is known, in points; the last figure is the accuracy of the
    more confident half."""
    return [
        (
            source, f"{each['n']:,}", f"{100 * each['error']['value']:.1f}",
            bounds(each["error"]), f"{100 * each['overconfidence']['value']:+.1f}",
            f"{each['brier']['value']:.3f}", percent(each["kept"][0]["accuracy"]["value"]),
        )
        for source, each in found.items()
    ]  # fmt: skip


def calibration_notes(sources: Iterable[str]) -> Iterator[str]:
    """Where each confidence comes from."""
    for source in dict.fromkeys(sources):
        yield f"{source}: {SOURCES[source]}"


def print_breakdown(found: Mapping[str, Breakdown], by: Sequence[str]) -> None:
    """Print the subgroups that were asked for, and how calibrated the policy is where that is
    known.

    Args:
        found: of each benchmark, by its name.
        by: kinds of cases.
    """
    starred = False
    for benchmark, each in found.items():
        head = f"{benchmark}, " if benchmark else ""
        for kind in by:
            rows = subgroup_rows(each.get("subgroups", {}), kind)
            starred = starred or any(row[0].endswith(" *") for row in rows)
            name = kind.replace("_", " ")
            if rows:
                print_columns((f"{head}{name}", *SUBGROUP), rows, WIDTH)
            else:
                print(f"{head}{name}: all cases are of one kind")
    if starred:
        print(SMALL_GROUPS)
    for benchmark, each in found.items():
        known = each.get("calibration", {})
        if known:
            head = f"{benchmark}, " if benchmark else ""
            print_columns((f"{head}confidence", *CALIBRATION), calibration_rows(known), WIDTH)
    sources = [source for each in found.values() for source in each.get("calibration", {})]
    for line in calibration_notes(sources):
        print(line)
