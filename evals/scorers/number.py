"""The answer must be the gold number, or an accepted one, with or without the gold's unit.

`12`, `12.0`, `1.2e1`, `12 mm` and `1.2 cm` all equal the gold `12 mm`. `12 cm` does not, and `about
12` is not read as a number, nor are `12-14`, `12/14` and `12 x 14 mm`, with whatever dash. Lengths,
areas and volumes are converted (10 ml are 10 cm³); any other unit is compared as text. An answer
with a unit does not equal a gold without one. Any dash before a number is a minus sign.

A number is right to within rounding, or to within the case's `tolerance`, in the gold's unit.
"""

import math
import re

from medgym.cases import Case, normalised
from medgym.errors import UserError
from medgym.scorer import RIGHT, UNPARSED, WRONG, Grade

from .units import base_of

_NUMBER = re.compile(
    r"(?P<number>[-+]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:e[-+]?\d++)?)\s*"
    r"(?P<unit>[^\d\s.,+\-/*:;^=<>~±×_].*)?"
)
_SIZE = re.compile(r"(?:x|by|to)\s*[-+]?\d")
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"), "-")

Measure = tuple[float, str]
"""A number and its unit, which may be empty."""


class Number:
    """Right where the answer is the gold number, with or without its unit."""

    version = "4"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the numbers, and the unit where the answer has one."""
        right = self.check(case)
        given = read_measure(answer)
        if given is None:
            return UNPARSED
        tolerance = case.tolerance or 0.0
        return RIGHT if any(_same(given, gold, tolerance) for gold in right) else WRONG

    def check(self, case: Case) -> list[Measure]:
        """The gold number and its unit, and the accepted ones; `UserError` where one is anything
        else."""
        found = []
        for text in case.golds:
            gold = read_measure(text)
            if gold is None:
                raise UserError(
                    f"the answer of {case.id} is {text!r}, and its answer_type is number; fix: "
                    "write a number, or give it another answer_type"
                )
            found.append(gold)
        return found


def relative_accuracy(case: Case, answer: str) -> float:
    """How near an answer is to the gold number, from 0 to 1: max(0, 1 - |answer - gold| / |gold|).

    This is what DeepTumorVQA calls MRA (arXiv 2605.09679, its `eval/metrics.py` at 7c15c50): 1 or 0
    where the gold is 0, and 0 for what is no number. Unlike there the whole answer must be the
    number, and its unit counts. Of several golds the nearest one counts.
    """
    given = read_measure(answer)
    if given is None:
        return 0.0
    found = [0.0]
    for gold in Number().check(case):
        value = _in_unit_of(given, gold)
        if value is None:
            continue
        if gold[0] == 0:
            found.append(float(value == 0))
        else:
            found.append(max(0.0, 1 - abs(value - gold[0]) / abs(gold[0])))
    return max(found)


def in_gold_unit(case: Case, answer: str) -> float | None:
    """The number of an answer in the unit of the gold; None where it has none, or another kind of
    unit."""
    given, gold = read_measure(answer), read_measure(case.answer)
    return None if given is None or gold is None else _in_unit_of(given, gold)


def read_measure(text: str) -> Measure | None:
    """A number and its unit; None where the text is anything else."""
    match = _NUMBER.fullmatch(normalised(text).translate(_DASHES))
    if match is None or _SIZE.match(match["unit"] or ""):
        return None
    value = float(match["number"])
    return (value, match["unit"] or "") if math.isfinite(value) else None


def _same(given: Measure, gold: Measure, tolerance: float) -> bool:
    value = _in_unit_of(given, gold)
    if value is None:
        return False
    near = math.isclose(value, gold[0], rel_tol=1e-9, abs_tol=1e-12)
    return near or abs(value - gold[0]) <= tolerance * (1 + 1e-9)


def _in_unit_of(given: Measure, gold: Measure) -> float | None:
    """A number in the gold's unit; None where its own unit measures something else."""
    if given[1] in ("", gold[1]):
        return given[0]
    (what, factor), (wanted, base) = base_of(given[1]), base_of(gold[1])
    return given[0] * factor / base if what == wanted else None
