"""What DeepTumorVQA counts as right, faults included.

- A choice is the first letter of the reply where that is A, B, C or D, whatever word it begins:
  "Appears normal" is A, "Both" is B, "Cannot determine" is C, "Definitely B" is D.
- A number is the first one in the reply: "In 2 phases, 45 HU" is 2. Its unit does not count, so
  that 5 mm equals 5 cm.
- A closed answer is what the reply begins with, as a part of a word too: "normal" is no. Else a
  "yes" anywhere counts before a "no".
- Any other answer is right where its letters and digits are the gold's.
- A measured figure and an accuracy are one mean: numbers count by relative accuracy, the rest by 0
  or 1.

A case's kind is here its answer type, where theirs is by the sort of question.
"""

import re
from collections.abc import Mapping, Sequence

from medgym.cases import LETTERS

from .answered import Answered, share

BANDS = (0.05, 0.10, 0.20, 0.50)
"""Relative errors within which a number counts as right."""

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_NUMBER = re.compile(r"-?\d+\.?\d*")


def deeptumorvqa(answers: Sequence[Answered]) -> Mapping[str, float]:
    """The figures that it prints; of numbers the mean relative accuracy, and how many are within
    5, 10, 20 and 50 %."""
    if not answers:
        return {}
    numbers = [each for each in answers if is_number(each)]
    found = {"accuracy": share(score(each) for each in answers)}
    if numbers:
        found["numbers: MRA"] = share(score(each) for each in numbers)
        for band in BANDS:
            within = share(error(each) <= band for each in numbers)
            found[f"numbers: within {100 * band:.0f} %"] = within
    return found


def is_number(each: Answered) -> bool:
    """Whether it takes a case as a measurement: the first number of its gold is one."""
    return each.case.answer_type == "number" and not each.case.options


def score(each: Answered) -> float:
    """What it gives an answer."""
    text = _THOUGHT.sub("", each.text).strip()
    if each.case.options:
        place = each.case.options.index(each.case.answer)
        return float(letter(text) == LETTERS[place])
    if is_number(each):
        return max(0.0, 1 - error(each))
    if each.case.answer_type == "closed" and each.case.answer.lower() in ("yes", "no"):
        return float(yes_or_no(text) == each.case.answer.lower())
    return float(_plain(text) == _plain(each.case.answer))


def letter(text: str) -> str:
    """The letter that it reads: the first one of the text, or the first that stands by itself."""
    upper = text.upper()
    if upper[:1] and upper[0] in "ABCD":
        return upper[0]
    found = re.search(r"\b([A-D])\b", upper)
    return found[1] if found else ""


def yes_or_no(text: str) -> str:
    """The word that it reads of a closed answer."""
    lower = text.lower()
    for word in ("yes", "no"):
        if lower.startswith(word):
            return word
    return next((word for word in ("yes", "no") if re.search(rf"\b{word}\b", lower)), "")


def error(each: Answered) -> float:
    """The relative error of a number; without end where the reply has none."""
    said, gold = first_number(_THOUGHT.sub("", each.text)), first_number(each.case.answer)
    if said is None or gold is None:
        return float("inf")
    if gold == 0:
        return 0.0 if said == 0 else float("inf")
    return abs(said - gold) / abs(gold)


def first_number(text: str) -> float | None:
    """The first number in a text."""
    found = _NUMBER.search(text)
    return float(found[0]) if found else None


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"[^\w\s-]", "", text.strip().lower()))
