"""A judge beside the rules, for commands that go through the episodes of a run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medgym.cases import Case
from medgym.commands.printing import print_table
from medgym.errors import RunError, UserError
from medgym.policy import Policy
from medgym.rollout.request import ready
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

from ..outcomes.outcome import CaseOutcome
from ..spending import Price
from .answers import JUDGED_BY, Judgeable, judgeable, judged_answers, judged_rows
from .asking import ModelJudge, open_judge
from .prompt import ANSWER, judge_prompt
from .replies import JudgeReplies


class BesideRules:
    """Takes the episodes of a run as they come, and has their answers judged at the end.

    Attributes:
        policy: who judges; None where no judge is wanted: then it does nothing.
        prices: of models, where its cost is wanted.
    """

    def __init__(self, policy: Policy | None, *, every: bool = False) -> None:
        self.policy = policy
        self.prices: Mapping[str, Price] = {}
        self._every = every
        self._answers: list[Judgeable] = []

    def require(self) -> None:
        """Make sure that the judge can act, before anything is played.

        Raises:
            UserError: it cannot.
        """
        if self.policy is not None:
            ready(self.policy)

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
        replies = JudgeReplies(folder)
        judge = ModelJudge(self.policy, judge_prompt(ANSWER), replies, self.prices)
        return judged_answers(self._answers, judge, every=self._every)

    def complete(
        self, content: dict[str, Any], folder: RunFolder | None
    ) -> RunError | UserError | None:
        """Put what the judge says into the content of a `results.json`, beside the figures of the
        rules.

        Returns:
            why the judge failed, where no folder keeps the episodes: then the figures of the rules
            are to be printed first.

        Raises:
            UserError, RunError: it failed, and the same command resumes the run in the folder.
        """
        if "benchmarks" in content:  # not of those that could not be judged: each question costs
            judged_too = content["benchmarks"]
            self._answers = [each for each in self._answers if each.benchmark in judged_too]
        try:
            judged = self.figures(None if folder is None else folder.path)
        except (UserError, RunError) as error:
            if folder is not None:
                raise
            return error
        for name, said in judged.items():
            part = content["benchmarks"][name] if "benchmarks" in content else content
            for ways in part["policies"].values():
                for judgement in ways.values():
                    judgement[JUDGED_BY] = said
        return None

    def print(self, content: Mapping[str, Any]) -> None:
        """Print what `complete` has put into it."""
        if self.policy is None:
            return
        parts = content.get("benchmarks", {"": content})
        judgements = {
            name: judgement
            for name, part in parts.items()
            for ways in part["policies"].values()
            for judgement in ways.values()
            if JUDGED_BY in judgement
        }
        if not judgements and not self._answers:
            print(NOTHING)
        for name, judgement in judgements.items():
            print(f"\n{name}" if name else "")
            print_table(judged_rows(judgement[JUDGED_BY]))


NOTHING = "There are no open answers and no reports to judge; --judge-all has all answers judged."


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
