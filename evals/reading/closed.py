"""The word of a small set that a reply says, read leniently: yes or no, left or right."""

import re
from collections.abc import Sequence

from medgym.cases import normalised

from .marks import marked, plain

_END = re.compile(r"[\s.,;:!。，；：！]+")


def closed_of(reply: str, words: Sequence[str]) -> str | None:
    """The one of `words` that a reply gives as its answer; None where it gives none, or several.

    A word counts where it is the whole answer, or where it stands first and a comma, a full stop,
    a semicolon or a colon follows it, and no other of the words stands anywhere behind it: "No,
    there is no fluid." is no, while "normal", "notice" and "not seen" are none. Of several marked
    answers the last that gives a word counts.

    Args:
        reply: the whole reply, or what stands between `<answer>` and `</answer>`.
        words: the set, such as `("yes", "no")`.
    """
    texts = list(marked(reply)) or [plain(reply)]
    for text in texts:
        said = _given(text, words)
        if said is not None:
            return said
    return None


def _given(text: str, words: Sequence[str]) -> str | None:
    whole = _bare(text)
    for word in words:
        if whole == _bare(word):
            return word
    first, mark, rest = _first(text)
    named = next((word for word in words if _bare(first) == _bare(word)), None)
    if named is None or not mark:
        return None
    others = [word for word in words if word != named]
    return None if any(_stands_in(word, rest) for word in others) else named


def _first(text: str) -> tuple[str, str, str]:
    """What stands before the first punctuation, that, and the rest."""
    found = re.search(r"[.,;:!。，；：！]", text)
    if found is None:
        return text, "", ""
    return text[: found.start()], found[0], text[found.end() :]


def _bare(text: str) -> str:
    return _END.sub(" ", normalised(plain(text).strip("()[]{}'\"`“”‘’ "))).strip()


def _stands_in(word: str, text: str) -> bool:
    """Whether a word stands in a text by itself. Chinese has no blanks between words."""
    if not word.isascii():
        return word in text
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
