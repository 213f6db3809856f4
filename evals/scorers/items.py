"""The answer must list the gold's items, in any order, each once or more often.

Items are separated by commas or semicolons, in the gold as in the answer, also by those of Chinese
and by its enumeration comma. Case, white space and a full stop at the end do not count. A list that
lacks an item, or has one too many, is wrong. An accepted answer is another list as a whole.
"""

import re

from medgym.cases import Case, normalised
from medgym.errors import UserError
from medgym.scorer import RIGHT, UNPARSED, WRONG, Grade

_BETWEEN = re.compile("[,;、，；]")


class Items:
    """Right where the answer lists exactly a gold's items, in any order."""

    version = "4"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the two sets of items. An answer without an item is unparsed."""
        given = items_of(answer)
        if not given:
            return UNPARSED
        return RIGHT if any(given == items_of(gold) for gold in case.golds) else WRONG

    def check(self, case: Case) -> None:
        """Make sure that each gold lists something; `UserError` where one is only commas."""
        for gold in case.golds:
            if gold.strip() and not items_of(gold):
                raise UserError(
                    f"the answer of {case.id} is {gold!r}, which lists nothing; fix: write its "
                    "items, or give it another answer_type"
                )


def items_of(text: str) -> set[str]:
    """The items that a text lists, as they are compared."""
    return {item for part in _BETWEEN.split(text) if (item := normalised(part))}
