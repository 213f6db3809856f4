"""Of what kind a question is, and what its gold is called, for the prior."""

from functools import lru_cache
from typing import NamedTuple

from medgym.cases import LETTERS, Case, normalised
from medgym.seeds import seed_of

WORDS = 2
"""First words of a question that say its kind."""

LONGEST = 200
"""Characters of a gold that the prior may answer with; a report is longer."""

LEVELS = 3
"""Kinds of a case, from the narrowest to the widest."""


class Label(NamedTuple):
    """A kind that a case is of, and its gold there.

    Attributes:
        kind: a hash of the kind. text: the gold, as it would be answered.
    """

    kind: int
    text: str


def labels(case: Case) -> tuple[Label, ...]:
    """The kinds of a case from the narrowest, as many as `LEVELS`; none without a gold text.

    Of a choice: its options, with the text as the gold; how many options it has, and that it is a
    choice, with the letter as the gold. Of others: the question, its first words, the answer type.
    """
    if not case.answer or len(case.answer) > LONGEST:
        return ()
    if case.options:
        return _of_choice(case.options, case.answer)
    return _of_question(case.answer_type, case.question, case.answer)


@lru_cache(maxsize=4096)
def _of_choice(options: tuple[str, ...], answer: str) -> tuple[Label, ...]:
    texts, gold = [normalised(option) for option in options], normalised(answer)
    letter = LETTERS[texts.index(gold)]
    return (
        Label(seed_of("options", *sorted(texts)), gold),
        Label(seed_of("letter", len(options)), letter),
        Label(seed_of("letter"), letter),
    )


@lru_cache(maxsize=4096)
def _of_question(answer_type: str, question: str, answer: str) -> tuple[Label, ...]:
    words, gold = normalised(question), normalised(answer)
    return (
        Label(seed_of("question", answer_type, words), gold),
        Label(seed_of("words", answer_type, *words.split()[:WORDS]), gold),
        Label(seed_of("type", answer_type), gold),
    )
