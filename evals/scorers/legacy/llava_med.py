"""What LLaVA-Med 1.0 counts as right, faults included.

Closed answers are right where the gold stands anywhere in the reply: "no" is found in "normal", and
a reply with both yes and no is always right. A closed gold that is neither yes nor no is never
right (61 of SLAKE's English test, 21 of VQA-RAD's). Of open answers the recall of the gold's words
is the score, so that padding raises it; what is printed as exact match is the precision of the
answer's words. The printed numbers of open and of closed questions are exchanged.

How it cuts a text into words was not read: here lower-case words without punctuation.
"""

import re
from collections.abc import Mapping, Sequence

from medgym.cases import normalised

from .answered import Answered, share


def llava_med(answers: Sequence[Answered]) -> Mapping[str, float]:
    """The figures that it prints. It has no rule for a choice among options: these are left out."""
    closed = [each for each in answers if not each.case.options and is_closed(each)]
    opened = [each for each in answers if not each.case.options and not is_closed(each)]
    found: dict[str, float] = {}
    if opened:
        found["open: token recall"] = share(recall(each.text, each.case.answer) for each in opened)
        found["open: printed as exact match"] = share(
            precision(each.text, each.case.answer) for each in opened
        )
    if closed:
        found["closed: accuracy"] = share(closed_score(each) for each in closed)
    found["printed as open questions"] = float(len(closed))
    found["printed as closed questions"] = float(len(opened))
    left = len(answers) - len(closed) - len(opened)
    return {**found, "left out: a choice": float(left)} if left else found


def is_closed(each: Answered) -> bool:
    """Whether the case is annotated as closed."""
    return each.case.answer_type == "closed"


def closed_score(each: Answered) -> float:
    """1 where the gold is yes or no and stands in the reply, as a part of a word too."""
    gold = normalised(each.case.answer)
    return float(gold in ("yes", "no") and gold in each.text.lower())


def recall(text: str, gold: str) -> float:
    """The share of the gold's words that stand in the text."""
    said = set(_words(text))
    return share(word in said for word in _words(gold))


def precision(text: str, gold: str) -> float:
    """The share of the text's words that stand in the gold."""
    wanted = set(_words(gold))
    return share(word in wanted for word in _words(text))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
