"""What an answer says, in one spelling, so that several answers to a case can be counted."""

from medgym.cases import LETTERS, Case, normalised, option_of

from ..scorers.items import items_of
from ..scorers.number import in_gold_unit


def spelled(case: Case, answer: str) -> str:
    """An answer as answers that say the same are spelled: a choice by its letter, a set in order, a
    number in the unit of the gold; any other as answers are compared."""
    if case.options:
        named = option_of(answer, case.options)
        return normalised(answer) if named is None else LETTERS[case.options.index(named)].lower()
    if case.answer_type == "set":
        return ", ".join(sorted(items_of(answer)))
    if case.answer_type == "number" and (value := in_gold_unit(case, answer)) is not None:
        return f"{value:.9g}"
    return normalised(answer)
