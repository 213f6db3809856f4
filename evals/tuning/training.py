"""Single episodes of training cases, asked for one by one, as an optimiser of dspy asks."""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from medgym.cases import Case, CaseList
from medgym.episode import Rules
from medgym.errors import RunError, UserError

from ..evaluation import Evaluation
from ..outcomes.outcome import outcome_of
from ..prompts import prompted
from .kept import Kept

UNANSWERED = {"answer": "", "right": False}


@dataclass
class TrainingEpisodes:
    """Plays one case with one prompt, and never the same twice.

    Attributes:
        evaluation: how the policy is played. cases: those of training. rules: without a prompt.
        budget: the most episodes. What is asked for beyond is unanswered, and counts as wrong.
        refused: how many these were. failure: the first one of the machinery; after it nothing is
            played any more, and what an optimiser makes of that is worth nothing.
        lenient: whether an answer counts in any form.
        kept: what became of each episode. advance: is called after each.
    """

    evaluation: Evaluation
    cases: CaseList
    rules: Rules
    budget: int
    lenient: bool = False
    kept: Kept = field(default_factory=Kept)
    advance: Callable[[], None] = lambda: None
    refused: int = 0
    failure: RunError | UserError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __deepcopy__(self, memo: Mapping[int, object]) -> "TrainingEpisodes":
        return self  # dspy copies programs; the episodes are the same for all

    def answer(
        self, prompt: str, case_id: str, temperature: float = 0.0, rollout: int = 0
    ) -> dict[str, Any]:
        """The answer to a case and whether it is right: `{"answer", "right"}`.

        Args:
            temperature: of sampling. rollout: which of several episodes, where it is above 0.
        """
        drawn = rollout if temperature else 0
        key = _key(prompt, case_id, temperature, drawn)
        if key in self.kept:
            found: dict[str, Any] = self.kept[key]
            return found
        with self._lock:
            if self.failure is not None or len(self.kept) >= self.budget:
                self.refused += 1
                return dict(UNANSWERED)
            try:
                found = self._played(prompt, self.cases.find(case_id), temperature, drawn)
            except (RunError, UserError) as error:
                self.failure = error
                return dict(UNANSWERED)
            self.kept.put(key, found)
        self.advance()
        return found

    def _played(self, prompt: str, case: Case, temperature: float, drawn: int) -> dict[str, Any]:
        sampling = replace(self.evaluation.suite.sampling, temperature=temperature)
        evaluation = replace(
            self.evaluation,
            suite=replace(self.evaluation.suite, sampling=sampling),
            seed=self.evaluation.seed + drawn,
            fail_above=0.0,  # a failed episode is no wrong answer
        )
        rules = prompted(self.rules, prompt) if prompt else self.rules
        ((_, trajectory),) = evaluation.play(CaseList([case]), rules)
        outcome = outcome_of(case, trajectory)
        verdict = outcome.lenient_verdict if self.lenient else outcome.verdict
        return {"answer": outcome.answer or "", "right": verdict == "right"}


def _key(*words: object) -> str:
    return hashlib.blake2b(json.dumps(words).encode(), digest_size=16).hexdigest()
