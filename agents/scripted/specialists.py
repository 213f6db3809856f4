"""Scripted policies of known accuracy, for consultations: a specialist, and a vote of specialists.

`scripted:specialist,specialty=radiologist,accuracy=0.7,alike=0.25,slip=0.05` answers from the gold,
without a look. With probability `slip` it names any option at random. Otherwise, on a case of its
own specialty, it is right with probability `accuracy` and else names a near miss; but with
probability `alike` a case is one on which all specialists of that specialty name the same near
miss. On a case of another specialty it names any option at random. A near miss is a wrong option
that shares with the gold what follows its last comma ("banded, late" for "granular, late"), or any
wrong option where none does.

`scripted:vote` is an attending who does not look: it answers with the commonest opinion, and picks
one of several equally common ones at random.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from medgym.cases import LETTERS, Case
from medgym.consultation.opinions import read_opinions
from medgym.errors import UserError
from medgym.messages import Message, Reply, render_answer
from medgym.policy import Policy, Sampling
from medgym.seeds import seed_of


class Specialist(Policy):
    """A specialist of known accuracy. See the module.

    Args:
        specialty: the specialty whose cases it knows.
        accuracy: probability that it is right on these, apart from `alike` and `slip`.
        alike: probability of a case on which all of its specialty name the same near miss.
        slip: probability that it names any option at random.
    """

    spec = "scripted:specialist"
    needs_gold = True

    def __init__(
        self, specialty: str = "", accuracy: float = 0.7, alike: float = 0.0, slip: float = 0.0
    ) -> None:
        for name, value in (("accuracy", accuracy), ("alike", alike), ("slip", slip)):
            if not 0 <= value <= 1:
                raise UserError(
                    f"scripted:specialist: {name}={value} is not a probability; fix: write 0 to 1"
                )
        self.specialty = specialty
        self._accuracy, self._alike, self._slip = accuracy, alike, slip

    def for_case(self, case: Case) -> Policy:
        """The specialist of one case."""
        return _CaseSpecialist(self, case)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Refused: a specialist needs the case, which `for_case` gives it."""
        raise UserError("a specialist needs the case; fix: play it through a rollout")

    def opinion(self, case: Case, rng: np.random.Generator) -> str:
        """The option that it names, or a text where the case has no options."""
        if not case.options:
            return case.answer if rng.random() < self._accuracy else "no finding"
        wrong = [option for option in case.options if option != case.answer]
        knows = case.specialty == self.specialty and bool(wrong)
        if not knows or rng.random() < self._slip:
            return case.options[int(rng.integers(len(case.options)))]
        tail = _tail(case.answer)
        near = [o for o in wrong if tail is not None and _tail(o) == tail] or wrong
        shared = np.random.default_rng(seed_of("alike", case.id, self.specialty))
        if shared.random() < self._alike:
            return near[int(shared.integers(len(near)))]
        if rng.random() < self._accuracy:
            return case.answer
        return near[int(rng.integers(len(near)))]


class _CaseSpecialist(Policy):
    def __init__(self, specialist: Specialist, case: Case) -> None:
        self._specialist, self._case = specialist, case

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        said = self._specialist.opinion(self._case, np.random.default_rng(sampling.seed))
        options = self._case.options
        return Reply(render_answer(LETTERS[options.index(said)] if said in options else said))


class Vote(Policy):
    """The commonest opinion in the question; one of several equally common ones at random."""

    spec = "scripted:vote"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """The commonest opinion, or "no opinion" where there are none."""
        said = [answer for _, answer in read_opinions(conversation[1].text)]
        counts = Counter(answer for answer in said if answer != "no answer")
        if not counts:
            return Reply(render_answer("no opinion"))
        most = max(counts.values())
        first = sorted(answer for answer, count in counts.items() if count == most)
        rng = np.random.default_rng(sampling.seed)
        return Reply(render_answer(first[int(rng.integers(len(first)))]))


def _tail(option: str) -> str | None:
    """What follows an option's last comma."""
    _, comma, tail = option.rpartition(", ")
    return tail if comma else None
