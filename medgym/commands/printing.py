"""How commands print results: a table for people, JSON for machines, both on stdout.

Ids, questions and replies come from files and models that are not trusted. What would steer a
terminal is never printed as it is.
"""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

LONGEST = 500
"""Characters of an id or a question that are printed."""


def safe_text(text: str) -> str:
    """The text without what would steer a terminal; lines stay lines."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _harmless(c) for c in text)


def safe_line(text: str, most: int | None = LONGEST) -> str:
    """The text in one line, without what would steer a terminal, cut after `most` characters."""
    short = text if most is None or len(text) <= most else f"{text[:most]} [cut]"
    return safe_text(" ".join(short.splitlines()).replace("\t", " "))


def _harmless(character: str) -> str:
    """A space for a space of another kind, else the sign of what cannot be shown."""
    return " " if unicodedata.category(character) == "Zs" else "\ufffd"


def print_json(value: Any) -> None:
    """One JSON document, indented."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    print("".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text))


def _escaped(character: str) -> str:
    """The character as JSON writes it in ASCII."""
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    rows = [(safe_line(name, None), safe_line(value, None)) for name, value in rows]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def print_columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under headings; the first column starts on the left, the others end on the right."""
    lines = [[safe_line(cell, None) for cell in line] for line in (headings, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    for first, *rest in lines:
        cells = (f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
        print("  ".join((f"{first:<{widths[0]}}", *cells)))


def percent(share: float | None) -> str:
    """`72.5 %`, or a dash for what is not known."""
    return "-" if share is None else f"{100 * share:.1f} %"
