"""The options of a case in another order."""

import re

import numpy as np

from medgym.cases import Case
from medgym.seeds import seed_of

_LETTER = r"(?<![^\W_])\(?[A-H]\)?(?![^\W_])"
_ONE = r"(?:option|choice|answer|alternative|statement)s?"
_POINTS = re.compile(
    r"\b(?:all|none|both|neither|either|any|one|two) of (?:the )?(?:other )?"
    rf"(?:above|these|those|previous|preceding|following|listed|given|others|{_ONE})\b"
    r"|\b(?:above|below|aforementioned|preceding|former|latter)\b"
    rf"|\b(?:all|no|both|neither|other) {_ONE}\b|\b{_ONE} (?:{_LETTER}|\d)"
    rf"|\b(?:first|second|third|fourth|last)(?: (?:one|two|three|{_ONE})\b|\W*$)"
    rf"|{_LETTER}\W*(?:[,/+&、，]|\b(?:and|or|nor|but|not|and not|but not)\b)\W*{_LETTER}"
    rf"|\b(?:only|just|not|except|as|than|both) {_LETTER}\W*$|^\W*{_LETTER} only\b"
    r"|^\W*[A-H]\W*$|(?-i:^\W*(?=[A-H])A?B?C?D?E?F?G?H?\W*$)"
    r"|[仅只除非同]\s*[A-H](?![A-Za-z])|(?<![A-Za-z])[A-H]\s*[和与或及]\s*[A-H](?![A-Za-z])"
    r"|以上|以下|上述|前述|皆|均|全部|都[是有对不]|两者|前者|后者|前[两二三]|后[两二三]|选项",
    re.IGNORECASE,
)
"""What an option says that means others by their place, or is itself a letter."""

_LABEL = re.compile(r"\W*[A-Z]\s*[.):：]")
"""A letter with which an option begins: one of its own, where all options have one."""

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
    if any(map(_POINTS.search, options)) or all(map(_LABEL.match, options)):
        return None
    rng = np.random.default_rng(seed_of("option order", case.id))
    while True:
        order = tuple(options[place] for place in rng.permutation(len(options)))
        if order != options:
            return order
