"""Whether a case can be scored: what makes a right answer impossible, before anything plays."""

from collections.abc import Mapping

from medgym.case import LETTERS, Case, normalised
from medgym.errors import UserError
from medgym.scorer import check_gold


def unscorable(case: Case) -> str | None:
    """Why no answer to a case could be scored, in a few words; None where it can be.

    A case has gold that is not blank (or, without an answer, a gold region), of the type that it
    says. A text of full stops is blank: answers are compared without one at the end. Where it has
    options, there are at least two and at most 26, and the gold is one of them. Each gold region is
    on one of its images, the first of which is image 0.
    """
    if not case.question.strip():
        return "the question is blank"
    if not normalised(case.answer) and (case.answer.strip() or not case.regions):
        return "the answer is blank"
    if any(not normalised(other) for other in case.accepted):
        return "an accepted answer is blank"
    for region in case.regions:
        if not 0 <= region.image < max(len(case.images), 1):
            return f"a gold region is on image {region.image}, and it has {len(case.images)}"
    if not case.options:
        return "it is a choice without options" if case.answer_type == "choice" else _fault(case)
    if not 2 <= len(case.options) <= len(LETTERS):
        return f"it has {len(case.options)} options, and 2 to {len(LETTERS)} can be offered"
    if any(not normalised(option) for option in case.options):
        return "an option is blank"
    if case.answer.strip():
        for gold in (case.answer, *case.accepted):
            if gold not in case.options:
                offered = ", ".join(map(repr, case.options))
                return f"the answer {gold!r} is none of its options ({offered})"
    return _fault(case)


def equal_options(case: Case) -> tuple[str, ...]:
    """The options of a case that stand there more than once, as answers are compared. Either all of
    their letters are right or none is."""
    texts = [normalised(option) for option in case.options]
    seen = [o for o, text in zip(case.options, texts, strict=True) if texts.count(text) > 1]
    return tuple(dict.fromkeys(seen))


def equal_options_note(equal: Mapping[int, tuple[str, str]]) -> tuple[str, ...]:
    """What results say of cases with equal options: how many these are, and the first one.

    Args:
        equal: the id and the option of each, by its place.
    """
    if not equal:
        return ()
    first, text = equal[min(equal)]
    count = "1 case offers" if len(equal) == 1 else f"{len(equal):,} cases offer"
    return (f"{count} an option twice, such as {first} ({text!r})",)


def _fault(case: Case) -> str | None:
    """Why the case's scorer cannot read its gold."""
    try:
        check_gold(case)
    except UserError as error:
        return str(error).partition("; fix:")[0]
    return None
