"""The answer must list the gold's items, in any order, each once or more often.

Items are separated by commas or semicolons, in the gold as in the answer. Case, white space and a
full stop at the end do not count. A list that lacks an item, or has one too many, is wrong.
"""

import re

from medgym.cases import Case, normalised
from medgym.scorer import RIGHT, UNPARSED, WRONG, Grade


class Items:
    """Right where the answer lists exactly the gold's items, in any order."""

    version = "1"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the two sets of items. An answer without an item is unparsed."""
        given = _items(answer)
        if not given:
            return UNPARSED
        return RIGHT if given == _items(case.answer) else WRONG


def _items(text: str) -> set[str]:
    return {item for part in re.split("[,;]", text) if (item := normalised(part))}
