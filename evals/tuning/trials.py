"""What a policy makes of validation cases with each of some prompts; no episode is played twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from medgym.cases import CaseList
from medgym.episode import Rules
from medgym.metrics.rate import Rate
from medgym.storage.run_folder import RunFolder

from ..evaluation import Evaluation
from ..outcomes.figures import accuracy
from ..outcomes.outcome import CaseOutcome, outcome_of
from ..prompts import prompted
from ..statistics.paired import PairedDifference, difference
from .grammar import Candidate


@dataclass
class Trials:
    """Plays prompts on the first of some cases, in parts that a run's folder keeps.

    Attributes:
        evaluation: how the policy is played. cases: of the validation, in the order of use.
        rules: without a prompt. folder: where episodes are kept.
        lenient: whether an answer counts in any form.
        advance: is called with 1 and the accuracy of the prompt after each episode.
    """

    evaluation: Evaluation
    cases: CaseList
    rules: Rules
    folder: RunFolder | None = None
    lenient: bool = False
    advance: Callable[[], None] = lambda: None
    _found: dict[str, list[CaseOutcome]] = field(default_factory=dict)
    _until: dict[str, int] = field(default_factory=dict)

    def play(self, candidate: Candidate, until: int) -> None:
        """Play a prompt on the cases before `until` that it was not played on yet."""
        start = self._until.get(candidate.prompt, 0)
        if until <= start:
            return
        part = self.folder
        if part is not None:
            part = part.part(f"judged/prompt-{candidate.number:03}/{start:05}-{until:05}")
        rules = prompted(self.rules, candidate.prompt) if candidate.prompt else self.rules
        found = self._found.setdefault(candidate.prompt, [])
        for case, trajectory in self.evaluation.play(self.cases[start:until], rules, part):
            found.append(outcome_of(case, trajectory))
            self.advance()
        found.sort(key=lambda outcome: outcome.key)
        self._until[candidate.prompt] = until

    def outcomes(self, candidate: Candidate) -> Sequence[CaseOutcome]:
        """What became of each episode of a prompt so far."""
        return self._found.get(candidate.prompt, ())

    def cases_of(self, candidate: Candidate) -> int:
        """How many cases a prompt was tried on."""
        return self._until.get(candidate.prompt, 0)

    def accuracy(self, candidate: Candidate) -> Rate:
        """The share of right answers with a prompt, with its interval over groups."""
        return accuracy(self.outcomes(candidate), lenient=self.lenient)

    @property
    def episodes(self) -> int:
        """Episodes that were played, or held by the folder."""
        return sum(map(len, self._found.values()))

    def gain(self, first: Candidate, second: Candidate) -> PairedDifference:
        """What the second prompt gains over the first, on the cases that both were tried on."""
        one, other = (
            {each.key: each for each in self.outcomes(candidate) if each.is_counted}
            for candidate in (first, second)
        )
        keys = [key for key in one if key in other]
        return difference(
            [self._right(one[key]) for key in keys],
            [self._right(other[key]) for key in keys],
            [one[key].unit for key in keys],
        )

    def _right(self, outcome: CaseOutcome) -> float:
        return float((outcome.lenient_verdict if self.lenient else outcome.verdict) == "right")
