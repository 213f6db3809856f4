"""The clauses of a sentence, and what a clause says of the findings in it: present, absent, or
uncertain.

After NegEx (Chapman 2001): words such as "no" deny what stands behind them, others such as "is not
seen" what stands before them, up to the end of the clause. "No change in" denies nothing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Presence = Literal["present", "absent", "uncertain"]
Span = tuple[int, int]

_SHOWN = (
    r"seen|identified|noted|present|evident|visuali[sz]ed|demonstrated|appreciated|detected"
    r"|observed|found|visible|shown|suspected"
)
_DEGREE = (
    r"mild|mildly|moderate|moderately|severe|large|small|tiny|minimal|trace|stable|unchanged"
    r"|persistent|new|subtle|extensive|there"
)
_ENDS = re.compile(
    r"\s*(?:;|,?\s*\b(?:but|however|although|though|except(?: for)?|while|whereas|yet)\b),?\s*"
)
_BETWEEN = re.compile(
    r"\s*,\s*(?:(?:and|or|nor|as well as)\s+)?|\s+(?:and|or|nor|with|as well as)\s+"
    r"|\s+(?=without\b)"
)
_OPENS = re.compile(rf"(?:no|not|without|neither|{_DEGREE})\b")
_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|shows?|demonstrates?|appears?|remains?|contains?)\b"
    rf"(?!\s+(?:not\s+|again\s+|also\s+)?(?:{_SHOWN})\b)"
)

_NO_DENIAL = re.compile(
    r"\b(?:no|without(?: any)?)\s+(?:\w+\s+){0,2}(?:change|increase|decrease|progression"
    r"|difference)\b(?:\s+(?:in|of))?|\bnot only\b|\bnot (?:significantly )?changed\b"
)
_DENIED = re.compile(
    r"\b(?:no|not|without|free of|clear of|negative for|absence of|lack of|rather than|nor"
    r"|neither|resolution of|resolved|clearing of)\b"
)
_DENIED_BEFORE = re.compile(
    rf"\b(?:not|no longer)\s+(?:\w+ly\s+)?(?:{_SHOWN})\b"
    r"|\babsent\b|\b(?:has|have)\s+(?:\w+ly\s+)?(?:resolved|cleared)\b"
    r"|\b(?:is|are|was|were|been)\s+(?:excluded|ruled out|resolved)\b|\bresolved\b"
)
_DOUBTED = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|likely|may|might|could|suspicious for|suspicion of"
    r"|suspected|concerning for|concern for|can ?not exclude|not exclude|question of"
    r"|questionable|(?<!to )suggest\w*|equivocal|presumably|perhaps|favou?red|versus|vs"
    r"|differential|consider)\b"
)
_DOUBTED_BEFORE = re.compile(
    r"\b(?:can ?not|could not|not|may not)\s+(?:be\s+)?(?:\w+ly\s+)?(?:excluded|ruled out)\b"
    r"|\b(?:is|are|be)\s+(?:possible|suspected|questioned|considered|likely)\b|\?|\bversus\b|\bvs\b"
)
_NOT_NOW = re.compile(
    r"\b(?:history of|status post|s/p|evaluat\w+ (?:for|of)|assess(?:ment)? for|rule out|r/o"
    r"|indication|resection of|prior surgery for)\b"
)


@dataclass(frozen=True)
class Clause:
    """A part of a sentence with its own verb.

    Attributes:
        text: the whole sentence, in lower case. span: where in it the clause stands.
        pieces: what commas, "and" and "or" divide it into.
    """

    text: str
    span: Span
    pieces: Sequence[Span]

    @property
    def said(self) -> str:
        """The clause's own text."""
        return self.text[slice(*self.span)]

    def presence(self, span: Span) -> Presence | None:
        """What the clause says of what stands at `span`; None where it is not about now."""
        before, behind = self.text[self.span[0] : span[0]], self.text[span[1] : self.span[1]]
        if _NOT_NOW.search(before):
            return None
        before = _NO_DENIAL.sub(" ", before)
        if _DOUBTED_BEFORE.search(behind) or _DOUBTED.search(before):
            return "uncertain"
        if _DENIED.search(before) or _DENIED_BEFORE.search(behind):
            return "absent"
        return "present"

    def is_denied(self, span: Span) -> bool:
        """Whether the word at `span` itself is denied: "not normal"."""
        return re.search(r"\b(?:not|no|never)(?: \w+)?\s*$", self.text[: span[0]]) is not None


def clauses(text: str, says_something: re.Pattern[str]) -> Iterator[Clause]:
    """The clauses of a sentence.

    A comma or an "and" begins a clause where a verb of its own, a denial or a degree follows; else
    it continues with a list. A part that only names organs belongs to what is said of them.

    Args:
        text: a sentence, in lower case.
        says_something: what a clause says, such as a finding; without it, it is only a subject.
    """
    start = 0
    for part in [*_ENDS.finditer(text), None]:
        end = len(text) if part is None else part.start()
        if end > start:
            yield from _within(text, (start, end), says_something)
        start = end if part is None else part.end()


def _within(text: str, span: Span, says_something: re.Pattern[str]) -> Iterator[Clause]:
    first, found = span[0], list[Span]()
    for piece in _pieces(text, span):
        before = text[first : piece[0]]
        begins = _begins(text[slice(*piece)])
        if found and begins and says_something.search(before):
            yield Clause(text, (first, found[-1][1]), tuple(found))
            first, found = piece[0], []
        found.append(piece)
    if found:
        yield Clause(text, (first, span[1]), tuple(found))


def _begins(piece: str) -> bool:
    return _OPENS.match(piece) is not None or _VERB.search(piece) is not None


def _pieces(text: str, span: Span) -> Iterator[Span]:
    start = span[0]
    for mark in _BETWEEN.finditer(text, *span):
        if mark.start() > start:
            yield start, mark.start()
        start = mark.end()
    if span[1] > start:
        yield start, span[1]
