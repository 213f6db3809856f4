"""The episodes of an evaluation of hallucination: the cases as they are, and the questions about
what is not there; played, or read from a stored run."""

from contextlib import closing
from dataclasses import dataclass, field

from medgym.cases import Case, CaseList, open_cases
from medgym.episode import Rules
from medgym.progress import progress
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.trajectory import Trajectory

from ..evaluation import Evaluation
from ..looking.stored import arms_of
from ..outcomes.outcome import CaseOutcome, outcome_of
from ..outcomes.stored import stored_episodes
from ..robustness.source import MARK
from ..robustness.variants import CLEAN
from .measured import AskedNotThere, Labelled, asked_not_there, labelled
from .not_there import NotThere, questions_not_there

COMMAND = "hallucination"
"""As the recipe of a run names it."""

PART = "judged/not-there"
"""Where a run keeps the episodes of the questions about what is not there."""


@dataclass
class Measured:
    """What became of the episodes.

    Attributes:
        outcomes: of the cases as they are. answers: their labels.
        not_there: what became of the questions about what is not there.
        not_made: how many images gave no such question, by why.
    """

    outcomes: list[CaseOutcome] = field(default_factory=list)
    answers: list[Labelled] = field(default_factory=list)
    not_there: list[AskedNotThere] = field(default_factory=list)
    not_made: dict[str, int] = field(default_factory=dict)

    def add(self, case: Case, trajectory: Trajectory, benchmark: str = "") -> None:
        """Take an episode of a case as it is."""
        outcome = outcome_of(case, trajectory, benchmark)
        self.outcomes.append(outcome)
        if (found := labelled(case, trajectory, outcome)) is not None:
            self.answers.append(found)

    def add_not_there(self, case: Case, trajectory: Trajectory, asked: NotThere) -> None:
        """Take an episode of a question about what is not there."""
        outcome = outcome_of(case, trajectory)
        found = asked_not_there(case, trajectory, outcome, asked.forms[case.id])
        if found is not None:
            self.not_there.append(found)


def played(
    evaluation: Evaluation, cases: CaseList, rules: Rules, folder: RunFolder | None
) -> Measured:
    """Play the cases, and the questions that they give about what is not there.

    Raises:
        UserError, RunError: as of `Evaluation.play`.
    """
    asked = questions_not_there(cases)
    found = Measured(not_made=asked.not_made)
    questions = CaseList(asked.cases, view_size=cases.view_size)
    with progress("episodes", len(cases) + len(questions)) as advance:
        with closing(evaluation.play(cases, rules, folder)) as episodes:  # type: ignore[type-var]
            for case, trajectory in episodes:
                found.add(case, trajectory)
                advance(1)
        part = folder.part(PART) if folder is not None else None
        if not questions:
            return found
        with closing(evaluation.play(questions, rules, part)) as episodes:  # type: ignore[type-var]
            for case, trajectory in episodes:
                found.add_not_there(case, trajectory, asked)
                advance(1)
    return found


def stored(folder: RunFolder, policy: str) -> Measured:
    """Read the episodes of a run. One of `medgym hallucination` has the questions too.

    Of an evaluation in several arms only those with the tools on count, and of a robustness run
    only the clean cases: the same case in other arms or images would count more than once.

    Raises:
        UserError: as of `stored_episodes`.
    """
    found = Measured()
    recipe = folder.asked
    arms, is_robustness = arms_of(folder), recipe.get("command") == "robustness"
    for benchmark, case, trajectory in stored_episodes(folder, policy):
        if arms and benchmark.rpartition("-")[2] != "on":
            continue
        if is_robustness and benchmark.rpartition(MARK)[2] != CLEAN:
            continue
        found.add(case, trajectory, benchmark)
    if recipe.get("command") == COMMAND:
        asked = questions_not_there(open_cases(str(recipe["cases"]))[: recipe.get("limit")])
        questions = CaseList(asked.cases)
        for trajectory in TrajectoryStore(folder.path / PART):
            found.add_not_there(questions.find(trajectory.case_id), trajectory, asked)
        found.not_made = asked.not_made
    return found
