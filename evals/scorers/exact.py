"""The answer must equal the gold text, or one of the accepted texts.

Case, white space and a full stop at the end do not count. There is no substring rule: "no" is not
found in "normal".
"""

from medgym.cases import Case, normalised
from medgym.scorer import RIGHT, UNPARSED, WRONG, Grade


class Exact:
    """Right where the answer equals a gold text (case, white space, final full stop aside)."""

    version = "4"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the whole text. An empty answer is unparsed, whatever the gold is."""
        given = normalised(answer)
        if not given:
            return UNPARSED
        return RIGHT if any(given == normalised(gold) for gold in case.golds) else WRONG
