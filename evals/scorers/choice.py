"""The answer must name a right option: by its letter or by its text, and nothing else.

Case, white space and a full stop at the end do not count. There is no nearest option: "B. yes"
names none. The right options are the gold and the accepted ones, and any that stands there twice.
"""

from medgym.cases import Case, normalised, option_of
from medgym.scorer import RIGHT, UNPARSED, WRONG, Grade

from .exact import Exact


class Choice(Exact):
    """Right where the answer is the letter or the text of a right option."""

    version = "4"

    def __call__(self, case: Case, answer: str) -> Grade:
        """Compare the option that the answer names. Without options the text is compared."""
        if not case.options:
            return super().__call__(case, answer)
        named = option_of(answer, case.options)
        if named is None:
            return UNPARSED
        right = {normalised(gold) for gold in case.golds}
        return RIGHT if normalised(named) in right else WRONG
