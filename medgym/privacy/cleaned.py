"""What became of one file."""

from collections import Counter
from dataclasses import dataclass, field

from medgym.imaging.imaging_study import Region


@dataclass
class Cleaned:
    """What was taken out of a file.

    Attributes:
        changes: by keyword of an element, or kind of metadata, and what was done.
        boxes: where text was masked; None where nobody looked for burnt-in text.
        drawn: why text may be burnt in, in a few words; empty where nothing says so.
        notes: what else its reader should know.
    """

    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    boxes: tuple[Region, ...] | None = None
    drawn: str = ""
    notes: list[str] = field(default_factory=list)
