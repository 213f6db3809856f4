"""Scripted doctors of known accuracy, for consultations: a specialist, and the specialists' vote.

`scripted:specialist,specialty=radiologist,accuracy=0.7,alike=0.25,slip=0.05` knows what its
patients' records say and looks at the image from afar. On a case of its own specialty it is right
in a share `accuracy`, else it names a near miss; in a share `alike` of the cases every specialist
of that specialty names the same near miss; in a share `slip` it says anything. On a case of another
specialty it only says anything. A near miss is a wrong option that shares with the gold what
follows its last comma ("banded, late" for "granular, late"), or any wrong option where none does.

`scripted:vote` is an attending who looks at nothing: the commonest opinion, of several by chance.
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
    """A specialist of known accuracy; see the module.

    Args:
        specialty: whose cases it knows.
        accuracy: share of these on which it is right, beside those of `alike` and `slip`.
        alike: share of cases on which all of its specialty name the same near miss.
        slip: share of opinions that are any option.
    """

    spec = "scripted:specialist"
    needs_gold = True

    def __init__(
        self, specialty: str = "", accuracy: float = 0.7, alike: float = 0.0, slip: float = 0.0
    ) -> None:
        for name, share in (("accuracy", accuracy), ("alike", alike), ("slip", slip)):
            if not 0 <= share <= 1:
                raise UserError(f"scripted:specialist: {name}={share} is no share; fix: 0 to 1")
        self.specialty = specialty
        self._accuracy, self._alike, self._slip = accuracy, alike, slip

    def for_case(self, case: Case) -> Policy:
        """The specialist before one case."""
        return _Opinionated(self, case)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """A specialist speaks on a case."""
        raise UserError("a specialist needs the case; fix: play it through a rollout")

    def says(self, case: Case, rng: np.random.Generator) -> str:
        """The option (or, without options, the words) that it names."""
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


class _Opinionated(Policy):
    def __init__(self, doctor: Specialist, case: Case) -> None:
        self._doctor, self._case = doctor, case

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        said = self._doctor.says(self._case, np.random.default_rng(sampling.seed))
        options = self._case.options
        return Reply(render_answer(LETTERS[options.index(said)] if said in options else said))


class Vote(Policy):
    """The commonest of the opinions shown; of several equally common ones any, by the draw."""

    spec = "scripted:vote"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        """Its vote; "no opinion" where there are none."""
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
