"""What a page is made of: sections of paragraphs, tables, charts and examples."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

LONG = 40
"""Rows above which a table is folded."""


@dataclass(frozen=True)
class Table:
    """Rows under headings; the first column names the row."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    @property
    def is_long(self) -> bool:
        """Whether it opens only when it is asked to."""
        return len(self.rows) > LONG

    def narrowed(self) -> "Table":
        """The table without the columns in which nothing stands."""
        kept = [
            place
            for place in range(len(self.headings))
            if place == 0 or any(row[place] != "-" for row in self.rows)
        ]
        rows = [[row[place] for place in kept] for row in self.rows]
        return Table([self.headings[place] for place in kept], rows, self.caption)


@dataclass(frozen=True)
class Chart:
    """A figure of Plotly.

    Attributes:
        about: what it shows, for who cannot see it.
        data, layout: as Plotly takes them. height: in pixels.
    """

    about: str
    data: Sequence[dict[str, Any]]
    layout: dict[str, Any]
    height: int


@dataclass(frozen=True)
class Example:
    """One episode of a kind of failure.

    Attributes:
        case: its id. question, options, gold, answer: as texts.
        said: what else is to be said of it. pictures: (caption, data URI).
        link: into the page of `medgym view`, from the run's folder on.
    """

    case: str
    question: str
    options: Sequence[str]
    gold: str
    answer: str
    said: Sequence[str]
    pictures: Sequence[tuple[str, str]]
    link: str


@dataclass(frozen=True)
class Examples:
    """Some episodes of one kind of failure, of how many there are."""

    kind: str
    count: int
    shown: Sequence[Example]


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading. What is empty is left out."""

    name: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    examples: Sequence[Examples] = ()
    texts: Sequence[tuple[str, str]] = field(default=())
    """Longer texts, each under a line that opens it."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.paragraphs or self.tables or self.charts or self.examples or self.texts)
