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


def percent(share: float | None) -> str:
    """`72.5 %`, or a dash for what is not known."""
    return "-" if share is None else f"{100 * share:.1f} %"
