"""What the roles of a consultation are asked, in the words of a case: triage, then the attending.

Each role plays an ordinary episode. What makes it a consultation is which case it is given: triage
is asked for a specialty, and whoever decides reads the specialists' opinions in the case's context.
So every role is played, scored, stored and trained by what plays, scores, stores and trains cases.
"""

import re
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from medgym.cases import LETTERS, Case, CaseView, option_of
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.study import Box
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling
from medgym.trajectory import Look, Trajectory

TRIAGE, SPECIALIST, ATTENDING = "triage", "specialist", "attending"
"""The three roles, by the names under which trajectories and adapters are kept."""

SPECIALTIES = (
    "pathologist",
    "radiologist",
    "surgeon",
    "oncologist",
    "endocrinologist",
    "ophthalmologist",
    "dermatologist",
)
"""Whom triage chooses among by default (MMedAgent-RL, arXiv 2506.00555)."""

QUESTION = "Which specialist should see this case?"
SEVERAL = "Which specialists should see this case? Name up to {most}, joined by commas."
HEADING = "Opinions:"
LONGEST = 600
"""Characters of a specialist's reasons that are shown to the attending."""

_OPINION = re.compile(r"^- ([^:\n]+): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Opinion:
    """What one specialist said.

    Attributes:
        specialty: who said it.
        answer: the option that it names, or its words where there are no options; None where it
            gave no answer that could be read, or none at all.
        reason: what it thought before it answered, as far as it said.
        view: where it looked last, None where it had the whole images alone.
    """

    specialty: str
    answer: str | None
    reason: str = ""
    view: CaseView | None = None

    def line(self) -> str:
        """As the attending reads it."""
        said = self.answer if self.answer is not None else "no answer"
        reason = " ".join(self.reason.split())[:LONGEST]
        return f"- {self.specialty}: {said}" + (f" (because: {reason})" if reason else "")


def opinion_of(
    case: Case, specialty: str, answer: str | None, reason: str = "", looks: Sequence[Look] = ()
) -> Opinion:
    """A specialist's final answer as an opinion on `case`; what contradicts its form says nothing.

    `looks` are those of the specialist's part. An answer to a question with options must name one
    of them, by letter or text.
    """
    if answer is not None and case.options:
        answer = option_of(answer, case.options)
    if answer is not None:
        answer = " ".join(answer.split())[:LONGEST] or None
    last = looks[-1] if looks else None
    view = CaseView(image=last.image, box_px=last.box_px, by=specialty) if last else None
    return Opinion(specialty, answer, reason, view)


def triage_case(case: Case, specialties: Sequence[str], most: int = 1) -> Case:
    """The case as triage is asked it: same images, the choice of a specialty, gold `specialty`.

    Where it may choose several, up to `most`, it is told so, and in which form. Where the case's
    specialty is none of `specialties`, no answer is right.
    """
    return case.model_copy(
        update={
            "question": QUESTION if most == 1 else SEVERAL.format(most=most),
            "options": tuple(specialties),
            "context": f"It will be asked: {case.question}",
            "answer": case.specialty or "",
            "answer_type": "choice",
            "regions": (),
        }
    )


def chosen(answer: str | None, specialties: Sequence[str], most: int) -> tuple[str, ...]:
    """The specialties that triage's answer names, by letter or name, joined by commas.

    Empty where any part names none, or where there are more than `most`: no guess is made.
    """
    if answer is None:
        return ()
    named = [option_of(part, specialties) for part in re.split(r"[,;]", answer)]
    found = tuple(dict.fromkeys(name for name in named if name is not None))
    return found if None not in named and len(found) <= most else ()


def advised_case(case: Case, opinions: Sequence[Opinion], views: int = 0) -> Case:
    """The case as the attending is asked it: with the opinions, in the order given.

    The attending starts with up to `views` of the regions that the specialists looked at last, each
    once, drawn anew without the marks that a specialist's tool may have put there.
    """
    places: dict[tuple[int, Box], CaseView] = {}
    for opinion in opinions:
        if opinion.view is not None:
            places.setdefault((opinion.view.image, opinion.view.box_px), opinion.view)
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

    So no place in the list stands for a specialty, or for who is mostly right.
    """
    order = np.random.default_rng(seed).permutation(len(opinions))
    return [opinions[int(i)] for i in order]


def read_opinions(question: str) -> list[tuple[str, str]]:
    """The (specialty, answer) pairs that a question shows: what a scripted attending goes by."""
    _, shown, rest = question.partition(f"{HEADING}\n")
    if not shown:
        return []
    found = _OPINION.findall(rest.partition("\nQuestion: ")[0])
    return [(who, said.partition(" (because: ")[0]) for who, said in found]


def letter_of(option: str, options: Sequence[str]) -> str | None:
    """The letter of an option, None where it is none of them."""
    return LETTERS[options.index(option)] if option in options else None


class Play(Protocol):
    """Plays one part: an episode by one role, on the consultation's images and draws."""

    async def __call__(
        self,
        case: Case,
        policy: Policy,
        rules: Rules,
        *,
        role: str,
        sampling: Sampling | None,
        threads: Executor | None = None,
    ) -> Trajectory:
        """The part's trajectory.

        `role` names it in the seeds: parts of other names differ. `threads` are those of its tools
        where they are not to be the rollout's.
        """


class Team(Policy):
    """A policy of several roles, each of which plays an episode of its own.

    It is played, stored and judged like any other; what it plays is a consultation, and its
    trajectory (`record.joined`) has a branch for each part.
    """

    @abstractmethod
    async def consult(
        self, case: Case, rules: Rules, play: Play, sampling: Sampling | None, seed: int
    ) -> Trajectory:
        """Play the consultation of one case.

        Args:
            case: gold included, which is to reach `play` alone.
            rules: of whoever decides; the other roles have their own tools and rubrics.
            play: plays a part.
            sampling: how replies are drawn where a role does not say.
            seed: of what the team itself draws.

        Raises:
            Failure: the machinery failed for good in a part that cannot be done without.
        """

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """A team consults; it has no reply of its own."""
        raise UserError(f"{self.spec} is a consultation; fix: play it through a rollout")
