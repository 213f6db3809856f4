"""What a policy chose as its answer, and what it had called its answer before that.

Before means in an earlier reply, or in the thought of the last one. A text calls something the
answer where it is marked as that: by a tag, a box, or words such as "the answer is". Of a phantom,
once the last look was shown, the last sentence that says something of what was asked counts too.
"""

import re
from collections.abc import Iterator

from medgym.cases import Case, normalised, option_of
from medgym.messages import THOUGHT_TAGS, thought_of
from medgym.trajectory import Trajectory

from ..outcomes.answer_text import last_reply
from ..reading.choice import choice_of
from ..reading.closed import closed_of
from ..reading.marks import marked, plain
from .claims import aspects, clauses, sentences
from .phantom_facts import asked_of, facts_of

YES_NO = ("yes", "no")

_TAGS = re.compile("|".join(re.escape(tag) for pair in THOUGHT_TAGS for tag in pair))


def chosen_answer(case: Case, answer: str | None) -> str | None:
    """What an answer chooses: the text of an option; of a closed question yes or no."""
    if answer is None:
        return None
    if case.options:
        return option_of(answer, case.options) or choice_of(answer, case.options)
    return closed_of(answer, YES_NO) if normalised(case.answer) in YES_NO else None


def final_answer(trajectory: Trajectory) -> str | None:
    """The answer, else the whole last reply; None where nothing was said."""
    return trajectory.answer if trajectory.answer is not None else last_reply(trajectory)


def said_before(case: Case, trajectory: Trajectory) -> list[str]:
    """What the policy called its answer before its last reply was out, in order.

    What it wrote before its last look counts only where it is marked as an answer: it may have
    changed its mind by what it saw.
    """
    nodes = trajectory.branch()
    replies = [place for place, node in enumerate(nodes) if node.role == "assistant"]
    looked = max((p for p, node in enumerate(nodes) if p and node.images), default=0)
    found: list[str] = []
    for place in replies:
        texts = [_TAGS.sub("", thought_of(nodes[place].text))]
        if place != replies[-1]:
            texts.append(plain(nodes[place].text))
        for text in texts:
            named = _marked(case, text)
            if named is None and place > looked and facts_of(case) is not None:
                named = next(_of_phantom(case, text), None)
            if named is not None:
                found.append(named)
    return found


def _marked(case: Case, text: str) -> str | None:
    """What a text marks as its answer; None where it marks nothing that is one."""
    chosen = (chosen_answer(case, mark) for mark in marked(text))
    return next((each for each in chosen if each is not None), None)


def _of_phantom(case: Case, text: str) -> Iterator[str]:
    """What the sentences of a text say of what was asked about a phantom, the last one first."""
    asked = asked_of(case)
    for sentence in reversed(sentences(text)):
        for clause in reversed(clauses(sentence)):
            said = aspects(clause)
            if asked == "presence" and said.is_of_lesion:
                if not said.denied or said.presupposed is not None:
                    yield "yes"
                elif not said.kinds and not said.sides:
                    yield "no"
            named = {"kind": said.kinds, "side": said.sides}.get(asked or "", frozenset())
            if not said.denied and len(named) == 1 and (asked == "kind" or said.is_of_lesion):
                yield from named
