"""How commands print results: a table for people, JSON for machines, both on stdout.

Ids, questions and replies come from files and models that are not trusted. What would steer a
terminal is never printed as it is.
"""

import json
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

WIDTH = 80
"""Characters of a line in a terminal that every user has."""

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


def print_table(rows: Sequence[tuple[str, str]], width: int | None = None) -> None:
    """Names and values in two columns.

    Args:
        width: of the table in characters, such as `WIDTH`: longer values go on in further lines. A
            word is never cut.
    """
    rows = [(safe_line(name, None), safe_line(value, None)) for name, value in rows]
    names = max(len(name) for name, _ in rows)
    if width is not None:
        fitting = [len(name) for name, _ in rows if len(name) <= width // 2]
        names = max(fitting, default=2)
    for name, value in rows:
        if len(name) > names:
            print(name)
            name = ""
        first, *others = _wrapped(value, None if width is None else width - names - 2)
        print(f"{name:<{names}}  {first}")
        for line in others:
            print(f"{'':<{names}}  {line}")


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False)


def print_columns(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None
) -> None:
    """Rows under headings; the first column starts on the left, the others end on the right.

    Args:
        width: of the table in characters, such as `WIDTH`: a name in the first column that leaves
            too little for the others stands on a line of its own. Nothing is cut.
    """
    lines = [[safe_line(cell, None) for cell in line] for line in (headings, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    if width is not None:
        left = width - sum(widths[1:]) - 2 * (len(widths) - 1)
        fitting = [len(line[0]) for line in lines if len(line[0]) <= left]
        widths[0] = max(fitting, default=min(2, max(left, 0)))
    for first, *rest in lines:
        if len(first) > widths[0]:
            print(first)
            first = ""
        cells = (f"{cell:>{size}}" for cell, size in zip(rest, widths[1:], strict=True))
        print("  ".join((f"{first:<{widths[0]}}", *cells)))


def percent(share: float | None) -> str:
    """`72.5 %`, or a dash for what is not known."""
    return "-" if share is None else f"{100 * share:.1f} %"
