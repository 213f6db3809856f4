"""The answer must equal the gold text, or one of the accepted texts.

Case, white space and a full stop at the end do not count. There is no substring rule: "no" is not
found in "normal".
"""

from medgym.cases import Case, normalised
from medgym.scorer import RIGHT, UNPARSED, WRONG, Grade


class Exact:
    """Right where the answer equals a gold text (case, white space, final full stop aside)."""

    version = "2"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the whole text. An empty answer is unparsed."""
        given = normalised(answer)
        if any(given == normalised(gold) for gold in case.golds):
            return RIGHT
        return WRONG if given else UNPARSED
