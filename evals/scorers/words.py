"""How many words an answer shares with a gold text: token recall and token F1, for figures only.

A token is a word or a number; in Chinese, which has no blanks, a sign. Case, punctuation and the
articles "a", "an" and "the" do not count, as in SQuAD. Of several golds the best counts.

Recall is the share of the gold's tokens that the answer has, so that a long answer of common words,
or a list of everything, raises it: it rewards padding. F1 also asks which share of the answer's
tokens the gold has. Neither decides what is right, and no reward is made of them.
"""

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

from medgym.cases import Case

_TOKEN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3400-\u4dbf\u4e00-\u9fff]+")
_ARTICLES = frozenset(("a", "an", "the"))


class SharedWords(NamedTuple):
    """How much of a gold an answer says, each from 0 to 1."""

    recall: float
    f1: float


def tokens_of(text: str) -> list[str]:
    """The tokens of a text, as they are compared. A text of nothing but articles keeps them."""
    found = _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
    return [token for token in found if token not in _ARTICLES] or found


def overlap(answer: str, gold: str) -> SharedWords:
    """What an answer shares with one gold; a token counts as often as it stands in both."""
    given, wanted = Counter(tokens_of(answer)), Counter(tokens_of(gold))
    shared = (given & wanted).total()
    if not shared:
        return SharedWords(0.0, 0.0)
    return SharedWords(shared / wanted.total(), 2 * shared / (given.total() + wanted.total()))


def best_overlap(case: Case, answer: str) -> SharedWords:
    """What an answer shares with a case's golds: the best recall, and the best F1."""
    each = [overlap(answer, gold) for gold in case.golds]
    return SharedWords(max(one.recall for one in each), max(one.f1 for one in each))
