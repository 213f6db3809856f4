"""What MedEvalKit counts as right, faults included.

- A closed answer is right where the reply has "yes" or "no", but not both, and it is the gold:
  parts of words count, so that "normal" says no. This holds only of a gold that is "yes" or "no" in
  lower case. "Yes" and "No", as SLAKE writes them, take the path of other closed answers.
- A choice falls back to the option that is nearest by difflib, so that any text names an option.
- On VQA-RAD, closed is what is answered with yes or no (251 of the test), not what is annotated so.
- SLAKE's two languages are one score.
- With a judge, SLAKE's closed hits are counted twice, by the rule and by the judge, so that an
  accuracy can pass 1; and PathVQA's are set to 0 and never counted again.

A judge's verdicts are medgym's own here, by the lenient reading; no model is called. Two things
were not read, and are ours: other closed answers must equal the gold, and so must open ones. It
also exchanges F1 with another of three figures, it was not read which: F1 is not among these.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from medgym.cases import LETTERS, normalised

from .answered import Answered, share

YES_NO = ("yes", "no")
BY_GOLD = ("vqa-rad", "path-vqa")
"""Sets whose closed questions are those that yes or no answers."""

_MARKED = re.compile(r"<answer>(.*?)</answer>|\\boxed\{([^{}]*)\}", re.DOTALL)
_LETTER = re.compile(r"\(?([A-Z])[).:]?", re.IGNORECASE)


def medevalkit(answers: Sequence[Answered]) -> Mapping[str, float]:
    """The figures that it prints, and of SLAKE and PathVQA what it prints where a judge is on."""
    if not answers:
        return {}
    closed = [each for each in answers if is_closed(each)]
    rest = [each for each in answers if not is_closed(each)]
    found = {"accuracy": share(score(each) for each in answers)}
    if closed:
        found["closed: accuracy"] = share(score(each) for each in closed)
    if rest:
        found["open and choice: accuracy"] = share(score(each) for each in rest)
    sources = {each.case.source for each in answers}
    judged = sum(each.right for each in rest)
    if sources == {"slake"}:
        twice = sum(score(each) for each in closed) + sum(each.right for each in closed)
        found["accuracy with a judge"] = (twice + judged) / len(answers)
    if sources == {"path-vqa"}:
        found["accuracy with a judge"] = judged / len(answers)
    return found


def is_closed(each: Answered) -> bool:
    """Whether it takes a case as closed."""
    if each.case.options:
        return False
    if each.case.source in BY_GOLD:
        return each.case.answer in YES_NO
    return each.case.answer_type == "closed"


def score(each: Answered) -> float:
    """1 where it takes an answer as right, without a judge."""
    text = extracted(each.text)
    if each.case.options:
        return float(nearest(text, each.case.options) == each.case.answer)
    if is_closed(each) and each.case.answer in YES_NO:
        said = [word for word in YES_NO if word in text.lower()]
        return float(said == [each.case.answer])
    return float(normalised(text) == normalised(each.case.answer))


def extracted(text: str) -> str:
    """What stands in the last `<answer>` or `\\boxed{}`; the whole text without one."""
    found = list(_MARKED.finditer(text))
    return (found[-1][1] or found[-1][2] or "").strip() if found else text.strip()


def nearest(text: str, options: Sequence[str]) -> str:
    """The option that a letter names, else the one that is nearest by difflib; never none."""
    letter = _LETTER.fullmatch(text)
    place = LETTERS.find(letter[1].upper()) if letter else -1
    if 0 <= place < len(options):
        return options[place]
    return max(options, key=lambda option: SequenceMatcher(None, text, option).ratio())
