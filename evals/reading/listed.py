"""The items of a list, read leniently: in a sentence, or one a line."""

import re

_BLANKS = re.compile(r"[^\S\n]+")
_LINE = re.compile(r"(?:^|\n) ?(?:[-*•] |\d{1,3}[.)] )?")
_AND = re.compile(r",? (?:and|&) |以及|和", re.IGNORECASE)


def listed(text: str) -> str:
    """A list with commas between its items, where it has lines, bullets or a last "and"."""
    return _AND.sub(", ", _LINE.sub(", ", _BLANKS.sub(" ", text)))
