"""What kind an answer of a question-answering set is, where the set itself does not say it."""

import re

from medgym.cases import AnswerType, normalised

_NUMBER = re.compile(r"\d+(?:\.\d+)?\s*(?:mm|cm)?", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*[,;、，；]\s*")
_SIDE = re.compile(r"(?P<side>left|right)(?P<rest>\s+\S.*)?", re.IGNORECASE)
_ET_CETERA = ("etc", "等")


def is_yes_no(answer: str) -> bool:
    """Whether it is yes or no, in any case, with or without a full stop."""
    return normalised(answer) in ("yes", "no")


def is_number(answer: str) -> bool:
    """Whether it is a number in digits, with or without millimetres or centimetres."""
    return _NUMBER.fullmatch(answer.strip()) is not None


def open_type(answer: str) -> AnswerType:
    """The type of an answer that is not closed: a number in digits is a number."""
    return "number" if is_number(answer) else "open"


def answer_type(answer: str) -> AnswerType:
    """The type of an answer that nobody has annotated: yes and no are closed."""
    return "closed" if is_yes_no(answer) else open_type(answer)


def blank(question: str, answer: str) -> str | None:
    """Why a row without a question or an answer makes no case; None for all others."""
    if not question.strip():
        return "the question is blank"
    return None if answer.strip() else "the answer is blank"


def items(answer: str) -> tuple[str, ...]:
    """What a list in words names, in its order: `Liver, Heart`, or by Chinese commas."""
    return tuple(item for item in _BETWEEN.split(answer.strip()) if item)


def other_forms(answer: str) -> tuple[str, ...]:
    """Lists that are as right as a published one.

    One without "etc" at its end; and where a side stands by itself beside that of a named organ
    ("Left Lung, Right"), one that names the organ for both.
    """
    listed = items(answer)
    shorter = tuple(item for item in listed if normalised(item) not in _ET_CETERA)
    forms = [shorter, _both_sides(shorter)]
    return tuple(dict.fromkeys(", ".join(form) for form in forms if form and form != listed))


def _both_sides(listed: tuple[str, ...]) -> tuple[str, ...]:
    sides = [_SIDE.fullmatch(item) for item in listed]
    organs = {side["rest"].casefold(): side["rest"] for side in sides if side and side["rest"]}
    if len(organs) != 1:
        return listed
    (organ,) = organs.values()
    return tuple(
        item + organ if side and not side["rest"] else item
        for item, side in zip(listed, sides, strict=True)
    )
