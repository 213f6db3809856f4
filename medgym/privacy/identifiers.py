"""What tells whose a file is, as its own texts say it, to look for in what is left of it."""

import re
from collections.abc import Iterable

_SHORTEST = 3
_LONG = 6
"""Characters of a word that is looked for in bytes too: a shorter one is there by chance."""

_WORD = re.compile(r"[^\W_]+")
_MONTHS = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    "|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_TELLING = re.compile(
    r"\d{5}|[@^]|://|\d[-/.]\d+[-/.]\d|\d{3}[-. ]\d{4}|(?:\d{1,3}\.){3}\d"
    rf"|\b\d{{1,4}}[-. /,]*{_MONTHS}\b|\b{_MONTHS}[-. /,]*\d",
    re.ASCII | re.IGNORECASE,
)
"""The form of a number of a person, a date, an address, a telephone."""

OWN_WORDS = frozenset(("anonymized", "anonymous", "anonymised", "none", "unknown"))
"""Words that stand for a name and are none."""


class Identifiers:
    """The identifiers that a file's texts hold: words of names, whole numbers and addresses."""

    def __init__(self) -> None:
        self._words: set[str] = set()

    def add_name(self, text: str) -> None:
        """Take a name, and each word of it."""
        self.add_whole(text)
        for word in _WORD.findall(text):
            if not word.isdecimal():
                self._add(word)

    def add_whole(self, text: str) -> None:
        """Take a text as one, such as the number of a patient or an address."""
        self._add(" ".join(text.replace("^", " ").replace("=", " ").split()))
        self.add_text(text)

    def add_text(self, text: str) -> None:
        """Take from a text of any kind the words in which there is a number of four digits."""
        for word in _WORD.findall(text):
            if sum(each.isdigit() for each in word) >= 4:
                self._add(word)

    def _add(self, word: str) -> None:
        word = word.casefold()
        if len(word) >= _SHORTEST and word not in OWN_WORDS:
            self._words.add(word)

    def are_in(self, text: str) -> bool:
        """Whether a text holds one of them, in any case."""
        plain = " ".join(re.sub(r"[\^=_]", " ", text.casefold()).split())
        return any(_stands_in(word, plain) for word in self._words)

    def are_number(self, text: str) -> bool:
        """Whether a text that should be a number is one of them."""
        return len(text.strip()) >= _LONG and text.strip() in self._words

    def are_in_bytes(self, data: bytes) -> bool:
        """Whether bytes hold one of those that are long enough not to be there by chance."""
        lower = data.lower()
        return any(
            word.encode(code) in lower
            for word in self._words
            if len(word) >= _LONG and not word.isdecimal()
            for code in ("utf-8", "utf-16-le")
        )


def is_telling(text: str) -> bool:
    """Whether a text has the form of an identifier: a long number, a date, an address."""
    return _TELLING.search(text) is not None


def words_of(data: Iterable[bytes]) -> Identifiers:
    """The identifiers in the texts of a picture's metadata: each word of at least six letters."""
    found = Identifiers()
    for each in data:
        for run in re.findall(rb"[ -~]{6,}", each + b"\n" + each.replace(b"\0", b"")):
            for word in re.findall(r"[A-Za-z0-9]{6,}", run.decode("ascii")):
                found._add(word)
    return found


def _stands_in(word: str, text: str) -> bool:
    """Whether a word is in a text, and is not a part of a longer word or number."""
    at = text.find(word)
    while at >= 0:
        before, after = text[at - 1 : at] if at else "", text[at + len(word) : at + len(word) + 1]
        if len(word) >= _LONG or not (_joins(before, word[0]) or _joins(after, word[-1])):
            return True
        at = text.find(word, at + 1)
    return False


def _joins(beside: str, edge: str) -> bool:
    return (beside.isalpha() and edge.isalpha()) or (beside.isdigit() and edge.isdigit())
