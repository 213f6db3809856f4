"""Whether a case can be scored: what makes a right answer impossible, before anything plays."""

from medgym.cases import LETTERS, Case
from medgym.errors import UserError


def unscorable(case: Case) -> str | None:
    """Why no answer to a case could be scored, in a few words; None where it can be.

    A case has gold that is not blank (or, without an answer, a gold region), of the type that it
    says. Where it has options, there are at least two and at most 26, and the gold is one of them.
    """
    if not case.question.strip():
        return "the question is blank"
    if not case.answer.strip() and not case.regions:
        return "the answer is blank"
    if any(not other.strip() for other in case.accepted):
        return "an accepted answer is blank"
    if not case.options:
        return "it is a choice without options" if case.answer_type == "choice" else _gold(case)
    if not 2 <= len(case.options) <= len(LETTERS):
        return f"it has {len(case.options)} options, and 2 to {len(LETTERS)} can be offered"
    if any(not option.strip() for option in case.options):
        return "an option is blank"
    if case.answer.strip():
        for gold in (case.answer, *case.accepted):
            if gold not in case.options:
                return f"the answer {gold!r} is none of its options"
    return None


def equal_options(case: Case) -> tuple[str, ...]:
    """The options of a case that stand there more than once. Any of their letters is right."""
    seen = [option for option in case.options if case.options.count(option) > 1]
    return tuple(dict.fromkeys(seen))


def _gold(case: Case) -> str | None:
    from medgym.scorer import check_gold

    try:
        check_gold(case)
    except UserError as error:
        return str(error).partition("; fix:")[0]
    return None
