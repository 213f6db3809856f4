"""The options of a case in another order."""

import re

import numpy as np

from medgym.cases import Case
from medgym.seeds import seed_of

_POINTS = re.compile(
    r"\b(all|none|both|neither|either|any|one) of (the )?(above|these|those|previous|following)\b"
    r"|\babove\b|\bbelow\b|\b(option|choice|answer)s? [A-H]\b|\b[A-H] (and|or|&) [A-H]\b"
    r"|^[A-H]$|以上|以下|上述|皆|均|全部|都[是有对不]|两者|选项",
    re.IGNORECASE,
)
"""What an option says that means others by their place, or is itself a letter."""

_LETTERED = re.compile(
    r"(?:^|\s)\(?A[.):]\s.*\s\(?B[.):]\s"
    r"|\b(?i:options?|choices?|answers?) \(?[A-H]\b"
    r"|\b(?i:first|second|third|fourth|last) (?i:option|choice|answer)\b|选项",
    re.DOTALL,
)
"""A question that has the options with their letters in its text, or names one by its place."""


def other_order(case: Case) -> tuple[str, ...] | None:
    """The options in another order, which the case's id fixes; None where it has none, or where an
    order has a meaning: an option names others by their place, or the question has letters."""
    options = case.options
    if len(set(options)) < 2 or _LETTERED.search(case.question):
        return None
    if any(_POINTS.search(option) for option in options):
        return None
    rng = np.random.default_rng(seed_of("option order", case.id))
    while True:
        order = tuple(options[place] for place in rng.permutation(len(options)))
        if order != options:
            return order
