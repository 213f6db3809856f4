"""The word of a small set that a reply says, read leniently: yes or no, left or right."""

import re
from collections.abc import Sequence

from medgym.cases import normalised

from .marks import marked, plain

POLAR: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (("yes",), ("no",)),
    (("是的", "是", "有", "对"), ("不是", "没有", "否", "无", "不")),
)
"""Of each language of the sets, the words that say yes, and those that say no."""

_AFFIRMING = POLAR[1][0]

_END = re.compile(r"[\s.,;:!。，；：！]+")
_MARK = re.compile(r"[.,;:!。，；：！\n]|(?<=\s)[-–—(]")
"""What stands behind a word that is an answer by itself."""


def closed_of(reply: str, words: Sequence[str]) -> str | None:
    """The one of `words` that a reply gives as its answer; None where it gives none, or several.

    A word counts where it is the whole answer, or where it stands first and the end of a line, a
    comma, a full stop, a semicolon, a colon, a dash or a bracket follows it, and no other of the
    words stands anywhere behind it: "No, there is no fluid." is no, while "normal", "notice" and
    "not seen" are none. Of several marked answers the last that gives a word counts.

    Args:
        reply: the whole reply, or what stands between `<answer>` and `</answer>`.
        words: the set, such as `("yes", "no")`.
    """
    return _said(reply, [(word,) for word in words])


def polar_of(reply: str, gold: str) -> str | None:
    """What a reply answers to a question that is answered by yes or no, in the gold's language:
    the gold itself, if the reply says the same; None where it says neither.

    Args:
        gold: one of the words of `POLAR`, see `is_polar`.
    """
    sides = next(each for each in POLAR if any(normalised(gold) in side for side in each))
    word = _said(reply, sides)
    if word is None:
        return None
    return gold if any(word in side and normalised(gold) in side for side in sides) else word


def is_polar(gold: str) -> bool:
    """Whether a gold is yes or no, in a language of the sets."""
    return any(normalised(gold) in side for each in POLAR for side in each)


def _said(reply: str, sides: Sequence[Sequence[str]]) -> str | None:
    """The word that a reply gives as its answer, where it gives none of another side."""
    for text in [*marked(reply)] or [plain(reply)]:
        said = _given(text, sides)
        if said is not None:
            return said
    return None


def _given(text: str, sides: Sequence[Sequence[str]]) -> str | None:
    words = {_bare(word): word for side in sides for word in side}
    whole = words.get(_bare(text))
    if whole is not None:
        return whole
    first, mark, rest = _first(text.strip())
    named = words.get(_bare(first))
    if named is None or not mark:
        return None
    others = [word for side in sides if named not in side for word in side]
    return None if any(_stands_in(word, rest) for word in others) else named


def _first(text: str) -> tuple[str, str, str]:
    """What stands before the first punctuation, that, and the rest."""
    found = _MARK.search(text)
    if found is None:
        return text, "", ""
    return text[: found.start()], found[0], text[found.end() :]


def _bare(text: str) -> str:
    return _END.sub(" ", normalised(plain(text).strip("()[]{}'\"`“”‘’ "))).strip()


def _stands_in(word: str, text: str) -> bool:
    """Whether a word stands in a text by itself. Chinese has no blanks between words, and what
    affirms is in every other sentence, as `is` and `has`: there it has to be a clause."""
    if word in _AFFIRMING:
        return any(_bare(clause) == word for clause in _MARK.split(text))
    if not word.isascii():
        return word in text
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
