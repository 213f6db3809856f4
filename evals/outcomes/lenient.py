"""The grade of a reply in whatever form the answer stands in it, for evaluation only."""

from collections.abc import Callable

from medgym.cases import LETTERS, Case
from medgym.errors import RunError, UserError
from medgym.scorer import Grade, grade

from ..reading.choice import choice_of
from ..reading.closed import is_polar, polar_of
from ..reading.listed import listed
from ..reading.marks import bare, marked, plain

READING = "1"
"""The version of what is read here, and in which reply. `medgym compare --lenient` compares no two
versions."""


def lenient_grade(case: Case, reply: str) -> Grade:
    """The grade of a whole reply, in whatever form the answer stands in it.

    A choice is read by `choice_of`, a yes or no by `polar_of`; any other answer is what the reply
    marks as it (see `marked`), else the whole reply. The golds are brought into the same
    characters, and a set may be a list in a sentence or in lines. What cannot be read is unparsed.
    """
    if case.options:
        named = choice_of(reply, case.options)
        return grade(case, "" if named is None else LETTERS[case.options.index(named)])
    if case.answer_type == "closed" and is_polar(case.answer):
        return grade(case, polar_of(reply, case.answer) or "")
    best, form = Grade(0.0, "unparsed"), _form_of(case)
    golds = {"answer": form(case.answer), "accepted": tuple(map(form, case.accepted))}
    alike = case.model_copy(update=golds)
    for text in [*marked(reply)] or [plain(reply)]:
        found = _graded(alike, form(text))
        if found.verdict != "unparsed":
            return found
    return best


def _form_of(case: Case) -> Callable[[str], str]:
    """How a reply and a gold are written alike before they are compared."""
    return (lambda text: bare(listed(text))) if case.answer_type == "set" else bare


def _graded(case: Case, text: str) -> Grade:
    try:
        return grade(case, text)
    except RunError as error:  # a scorer that cannot take a whole reply
        raise UserError(f"{case.id}: {error}") from error
