"""A judge beside the rules, for commands that go through the episodes of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medgym.cases import Case
from medgym.errors import UserError
from medgym.policy import Policy
from medgym.trajectory import Trajectory

from ..outcomes.outcome import CaseOutcome
from .answers import Judgeable, judgeable, judged_answers
from .asking import ModelJudge, open_judge
from .prompt import ANSWER, judge_prompt
from .replies import JudgeReplies


class BesideRules:
    """Takes the episodes of a run as they come, and has their answers judged at the end.

    Attributes:
        policy: who judges; None where no judge is wanted: then it does nothing.
    """

    def __init__(self, policy: Policy | None, *, every: bool = False) -> None:
        self.policy = policy
        self._every = every
        self._answers: list[Judgeable] = []

    def add(self, case: Case, trajectory: Trajectory, outcome: CaseOutcome) -> None:
        """Take an episode."""
        if self.policy is None:
            return
        found = judgeable(case, trajectory, outcome)
        if found is not None and (found.is_open or self._every):
            self._answers.append(found)

    def figures(self, folder: Path | None) -> dict[str, dict[str, Any]]:
        """What the judge says: its figures for each benchmark of which it has judged something.

        Args:
            folder: where its replies are kept.

        Raises:
            UserError, RunError: as of `ModelJudge.ask`.
        """
        if self.policy is None:
            return {}
        judge = ModelJudge(self.policy, judge_prompt(ANSWER), JudgeReplies(folder))
        return judged_answers(self._answers, judge, every=self._every)


@contextmanager
def judge_beside(spec: str | None, *, every: bool) -> Iterator[BesideRules]:
    """The judge that the options `--judged-by` and `--judge-all` ask for.

    Raises:
        UserError: it cannot judge, or only the second option is given.
    """
    if spec is None:
        if every:
            raise UserError("--judge-all names no judge; fix: add --judged-by SPEC")
        yield BesideRules(None)
        return
    with open_judge(spec) as policy:
        yield BesideRules(policy, every=every)
