"""What the roles of a consultation are asked, in the words of a case.

Each role plays an ordinary episode. What makes it a consultation is which case it is given: triage
is asked for a specialty, and the attending reads the specialists' opinions in the case's context.
So the code that plays, scores, stores and trains cases does the same for every role.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medgym.cases import LETTERS, Case, CaseView, option_of
from medgym.imaging.imaging_study import IMAGE
from medgym.trajectory import Look, Trajectory

SPECIALTIES = (
    "pathologist",
    "radiologist",
    "surgeon",
    "oncologist",
    "endocrinologist",
    "ophthalmologist",
    "dermatologist",
)
"""The specialties that triage chooses from by default (MMedAgent-RL, arXiv 2506.00555)."""

QUESTION = "Which specialist should see this case?"
SEVERAL = "Which specialists should see this case? Name up to {most}, joined by commas."
HEADING = "Opinions:"
LONGEST = 600
"""Characters of a specialist's reasons that are shown to the attending."""

_OPINION = re.compile(r"^- ([^:\n]+): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Opinion:
    """What one specialist, or another role that is heard, said.

    Attributes:
        who: said it: a specialty, or a role that is of no specialty.
        answer: the option that it names, or its words where there are no options; None where it
            gave no answer, or none that could be read.
        reason: what it thought before it answered, as far as it said.
        view: where it looked last; None where it saw only the whole images.
    """

    who: str
    answer: str | None
    reason: str = ""
    view: CaseView | None = None

    def line(self) -> str:
        """As the attending reads it."""
        said = self.answer if self.answer is not None else "no answer"
        reason = " ".join(self.reason.split())[:LONGEST]
        return f"- {self.who}: {said}" + (f" (because: {reason})" if reason else "")


def opinion_of(
    case: Case, who: str, answer: str | None, reason: str = "", looks: Sequence[Look] = ()
) -> Opinion:
    """A part's final answer as an opinion on `case`; an answer in the wrong form is no answer.

    `looks` are those of the part. An answer to a question with options must name one of them, by
    letter or text.
    """
    if answer is not None and case.options:
        answer = option_of(answer, case.options)
    if answer is not None:
        answer = " ".join(answer.split())[:LONGEST] or None
    last = looks[-1] if looks else None
    view = None if last is None else _view_of(last, who)
    return Opinion(who, answer, reason, view)


def _view_of(look: Look, who: str) -> CaseView:
    """Where someone looked. What an image starts with needs no name where it is the only one."""
    is_only = look.plane == IMAGE and look.index == 0
    return CaseView(
        image=look.image,
        box_px=look.box_px,
        by=who,
        plane=None if is_only else look.plane,
        index=None if is_only else look.index,
        slab=look.slab,
        window=look.window,
    )


def opinions_in(case: Case, consultation: Trajectory) -> list[Opinion]:
    """The specialists' opinions that a consultation's trajectory holds, without their reasons."""
    parts = [(role.partition(":")[2], part) for role, part in consultation.parts() if ":" in role]
    return [opinion_of(case, who, part.answer, looks=part.looks) for who, part in parts]


def triage_case(case: Case, specialties: Sequence[str], most: int = 1) -> Case:
    """The case as triage is asked it: same images, the choice of a specialty, gold `specialty`.

    Where it may choose several, the question says so, up to how many, and in which form. Where the
    case's specialty is not among `specialties`, no answer is right.
    """
    return case.model_copy(
        update={
            "question": QUESTION if most == 1 else SEVERAL.format(most=most),
            "options": tuple(specialties),
            "context": f"It will be asked: {case.question}",
            "answer": case.specialty or "",
            "accepted": (),
            "answer_type": "choice",
            "regions": (),
        }
    )


def chosen(answer: str | None, specialties: Sequence[str], most: int) -> tuple[str, ...]:
    """The specialties that triage's answer names, by letter or name, joined by commas.

    Empty where a part of the answer names no specialty, or where there are more than `most`.
    """
    if answer is None:
        return ()
    named = [option_of(part, specialties) for part in re.split(r"[,;]", answer)]
    found = tuple(dict.fromkeys(name for name in named if name is not None))
    return found if None not in named and len(found) <= most else ()


def advised_case(case: Case, opinions: Sequence[Opinion], views: int = 0) -> Case:
    """The case as the attending is asked it: with the opinions, in the order given.

    The attending starts with up to `views` of the regions that the specialists looked at last, each
    once, rendered again without the marks that a specialist's tool may have put there.
    """
    places: dict[CaseView, CaseView] = {}
    for opinion in opinions:
        if opinion.view is not None:
            places.setdefault(opinion.view.model_copy(update={"by": ""}), opinion.view)
    lines = "\n".join((HEADING, *(opinion.line() for opinion in opinions)))
    if not opinions:
        lines = f"{HEADING} none"
    return case.model_copy(
        update={
            "context": f"{case.context}\n{lines}" if case.context else lines,
            "views": (*case.views, *list(places.values())[:views]),
        }
    )


def shuffled(opinions: Sequence[Opinion], seed: int) -> list[Opinion]:
    """Opinions in the order in which the attending reads them.

    So a place in the list says nothing of the specialty, or of how often it is right.
    """
    order = np.random.default_rng(seed).permutation(len(opinions))
    return [opinions[int(i)] for i in order]


def read_opinions(question: str) -> list[tuple[str, str]]:
    """The (specialty, answer) pairs that a question shows, for scripted attendings."""
    _, shown, rest = question.partition(f"{HEADING}\n")
    if not shown:
        return []
    found = _OPINION.findall(rest.partition("\nQuestion: ")[0])
    return [(who, said.partition(" (because: ")[0]) for who, said in found]


def letter_of(option: str, options: Sequence[str]) -> str | None:
    """The letter of an option, None where it is none of them."""
    return LETTERS[options.index(option)] if option in options else None
