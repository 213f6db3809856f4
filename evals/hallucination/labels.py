"""The level of an answer by rules: where the case is a phantom, or where the answer is right.

A wrong answer to one of the phantoms' questions has the level of what was asked:

presence   catastrophic  a lesion is invented in an image without one, or the only one is denied
kind       critical      another type of finding
side, size, slice, hounsfield, count, change
           attribute     the finding is there, and what is said of it is wrong; a count of 0
                         denies all and is catastrophic
diagnosis  critical      the type is wrong; attribute, where only the stage is

An answer that the rules of answers cannot read, a report, and an answer to another question about a
phantom are read for claims (see `claims`). What claims nothing that can be checked has no level:
it is counted apart and scores nothing, neither well nor badly.
"""

import re

from medgym.cases import Case

from ..outcomes.outcome import CaseOutcome
from .claims import sentence_level, sentences
from .levels import ATTRIBUTE, CATASTROPHIC, CORRECT, CRITICAL
from .own_words import chosen_answer
from .phantom_facts import asked_of, facts_of

WRONG = {
    "presence": CATASTROPHIC,
    "kind": CRITICAL,
    "side": ATTRIBUTE,
    "size": ATTRIBUTE,
    "slice": ATTRIBUTE,
    "hounsfield": ATTRIBUTE,
    "count": ATTRIBUTE,
    "change": ATTRIBUTE,
}
"""The level of a wrong answer to each of the phantoms' questions, without `diagnosis`."""

_ZERO = re.compile(r"0(?:[.,]0*)?\b.*|zero\b.*|none\W*", re.IGNORECASE)


def statements(case: Case, text: str) -> list[str]:
    """What is labelled of an answer: of a report each sentence, else the whole of it."""
    if not text.strip():
        return []
    return sentences(text) if case.answer_type == "report" else [text]


def rule_levels(case: Case, outcome: CaseOutcome, text: str) -> list[str | None]:
    """The level of each statement of an answer, by rules; None where they cannot say."""
    facts = facts_of(case)
    if case.answer_type == "report":
        said = sentences(text)
        return [None if facts is None else sentence_level(each, facts) for each in said]
    if not text.strip():
        return []
    if outcome.lenient_verdict == "right":
        return [CORRECT]
    if facts is None:
        return [None]
    if outcome.lenient_verdict == "wrong":
        level = _wrong(case, text)
        if level is not None:
            return [level]
    return [sentence_level(text, facts)]


def _wrong(case: Case, text: str) -> str | None:
    asked = asked_of(case)
    if asked == "count" and _ZERO.fullmatch(text.strip()):
        return CATASTROPHIC
    if asked != "diagnosis":
        return WRONG.get(asked or "")
    chosen = chosen_answer(case, text) or text
    kind = case.answer.partition(",")[0]
    return ATTRIBUTE if chosen.partition(",")[0] == kind else CRITICAL
