"""The answer must be the gold number, or an accepted one, with or without the gold's unit.

`12`, `12.0`, `1.2e1` and `12 mm` all equal the gold `12 mm`. `12 cm` does not, and `about 12` is
not read as a number, nor are `12-14` and `12/14`, with whatever dash. Units are compared as text:
1.2 cm is not 12 mm. Any dash before a number is a minus sign.
"""

import math
import re

from medgym.cases import Case, normalised
from medgym.errors import UserError
from medgym.scorer import RIGHT, UNPARSED, WRONG, Grade

_NUMBER = re.compile(
    r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*"
    r"(?P<unit>[^\d\s.,+\-/*:;^=<>~±×_].*)?"
)
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"), "-")


class Number:
    """Right where the answer is the gold number, with or without its unit."""

    version = "3"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the numbers to within rounding, and the unit where the answer has one."""
        right = self.check(case)
        given = _read(answer)
        if given is None:
            return UNPARSED
        return RIGHT if any(_same(given, gold) for gold in right) else WRONG

    def check(self, case: Case) -> list[tuple[float, str]]:
        """The gold number and its unit, and the accepted ones; `UserError` where one is anything
        else."""
        found = []
        for text in case.golds:
            gold = _read(text)
            if gold is None:
                raise UserError(
                    f"the answer of {case.id} is {text!r}, and its answer_type is number; fix: "
                    "write a number, or give it another answer_type"
                )
            found.append(gold)
        return found


def _same(given: tuple[float, str], gold: tuple[float, str]) -> bool:
    same = math.isclose(given[0], gold[0], rel_tol=1e-9, abs_tol=1e-12)
    return same and given[1] in ("", gold[1])


def _read(text: str) -> tuple[float, str] | None:
    """A number and its unit; None where the text is anything else."""
    match = _NUMBER.fullmatch(normalised(text).translate(_DASHES))
    if match is None:
        return None
    value = float(match["number"])
    return (value, match["unit"] or "") if math.isfinite(value) else None
