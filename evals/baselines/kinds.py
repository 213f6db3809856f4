"""Of what kind a question is, and what its gold is called, for the prior."""

from collections.abc import Iterator
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


def labels(case: Case) -> Iterator[Label]:
    """The kinds of a case from the narrowest, as many as `LEVELS`; none without a gold text.

    Of a choice: its options, with the text as the gold; how many options it has, and that it is a
    choice, with the letter as the gold. Of others: the question, its first words, the answer type.
    """
    gold = normalised(case.answer)
    if not gold or len(gold) > LONGEST:
        return
    if case.options:
        count = len(case.options)
        letter = LETTERS[[normalised(option) for option in case.options].index(gold)]
        yield Label(seed_of("options", *sorted(map(normalised, case.options))), gold)
        yield Label(seed_of("letter", count), letter)
        yield Label(seed_of("letter"), letter)
        return
    question = normalised(case.question)
    yield Label(seed_of("question", case.answer_type, question), gold)
    yield Label(seed_of("words", case.answer_type, *question.split()[:WORDS]), gold)
    yield Label(seed_of("type", case.answer_type), gold)
