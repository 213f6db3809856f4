"""Each benchmark of an evaluation played and judged, while a bar shows how far it is.

Each episode is judged as it ends and then forgotten, so that memory does not grow with the cases.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medgym.cases import Case
from medgym.judge import Judge, Judgement
from medgym.progress import progress
from medgym.storage.run_folder import RunFolder
from medgym.tally import tally_of
from medgym.trajectory import Trajectory

from ..breakdown.results import breakdown
from ..evaluation import Evaluation
from ..outcomes.figures import further
from ..outcomes.outcome import CaseOutcome, outcome_of
from ..outcomes.packed import PackedRows
from ..spending import Price, Spending
from ..viewer.tokens import Pieces
from .benchmark import Benchmark
from .so_far import SoFar

OnOutcome = Callable[[Case, Trajectory, CaseOutcome], None]
"""What is called with each episode that has ended, its case, and what became of it."""


@dataclass(frozen=True)
class JudgedBenchmark:
    """A benchmark, judged.

    Attributes:
        judgement: the figures of the judge, and those of the outcomes.
        outcomes: what became of each episode.
        spent: what they took.
    """

    judgement: Judgement
    outcomes: Collection[CaseOutcome]
    spent: Spending

    def as_dict(self) -> dict[str, Any]:
        """The figures as `results.json` holds them."""
        return self.judgement.as_dict() | self.spent.as_dict() | breakdown(self.outcomes)


def judge_benchmarks(
    run: Judge,
    evaluation: Evaluation,
    benchmarks: Mapping[str, Benchmark],
    folder: RunFolder | None = None,
    prices: Mapping[str, Price] | None = None,
    on_outcome: OnOutcome | None = None,
) -> dict[str, JudgedBenchmark]:
    """Play and judge each benchmark.

    Args:
        run: the judge.
        folder: where episodes are kept, those of a suite under `judged/BENCHMARK`.
        prices: of models, where the cost is wanted.
        on_outcome: is called with each episode, with those that the folder held too.

    Raises:
        UserError, RunError: as of `Evaluation.play` and of the judge.
    """
    found: dict[str, JudgedBenchmark] = {}
    suite, seed = evaluation.suite, evaluation.seed
    pieces = Pieces(Path() if folder is None else folder.path)
    total = sum(len(each.cases) for each in benchmarks.values()) * evaluation.repeats
    so_far = SoFar(prices or {})
    with progress("episodes", total) as advance:
        for name, benchmark in benchmarks.items():
            part = folder
            if folder is not None and suite.name:
                part = folder.part(f"judged/{name}")
            cases, rules = benchmark.cases, benchmark.rules
            tally = tally_of(
                run, suite.judge, evaluation.policy, cases, rules,
                sampling=suite.sampling, seed=seed,
            )  # fmt: skip
            outcomes = PackedRows[CaseOutcome]()
            spent = Spending(prices or {})
            with closing(evaluation.play(cases, rules, part)) as stream:  # type: ignore[type-var]
                for case, trajectory in stream:
                    outcome = outcome_of(case, trajectory, name, pieces)
                    if (outcome.verdict == "right") != trajectory.correct:
                        # A run is resumed whose episodes another version of a scorer has judged.
                        trajectory = replace(trajectory, correct=not trajectory.correct)
                    tally.add(case, trajectory)
                    outcomes.add(outcome)
                    spent.add(trajectory)
                    so_far.add(outcome, trajectory)
                    if on_outcome is not None:
                        on_outcome(case, trajectory, outcome)
                    advance(1, **so_far.figures())
            judged = tally.judgement()
            metrics = {**judged.metrics, **further(outcomes)}
            found[name] = JudgedBenchmark(replace(judged, metrics=metrics), outcomes, spent)
    return found
