"""How commands print results: a table for people, JSON for machines, both on stdout."""

import json
from collections.abc import Sequence
from typing import Any


def print_json(value: Any) -> None:
    """One JSON document, indented."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def print_columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under headings; the first column starts on the left, the others end on the right."""
    lines = [headings, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    for first, *rest in lines:
        cells = (f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
        print("  ".join((f"{first:<{widths[0]}}", *cells)))


def percent(share: float | None) -> str:
    """`72.5 %`, or a dash for what is not known."""
    return "-" if share is None else f"{100 * share:.1f} %"
