"""Each benchmark of an evaluation played and judged, while a bar shows how far it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medgym.commands.printing import percent
from medgym.judge import Judge, Judgement
from medgym.progress import progress
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

from ..evaluation import Evaluation
from ..outcomes.breakdown import breakdown
from ..outcomes.figures import further
from ..outcomes.outcome import CaseOutcome, outcome_of
from ..spending import Price, Spending
from ..viewer.tokens import Pieces
from .benchmark import Benchmark


@dataclass(frozen=True)
class JudgedBenchmark:
    """A benchmark, judged.

    Attributes:
        judgement: the figures of the judge, and those of the outcomes.
        outcomes: what became of each episode.
        spent: what they took.
    """

    judgement: Judgement
    outcomes: Sequence[CaseOutcome]
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
) -> dict[str, JudgedBenchmark]:
    """Play and judge each benchmark.

    Args:
        run: the judge.
        folder: where episodes are kept, those of a suite under `judged/BENCHMARK`.
        prices: of models, where the cost is wanted.

    Raises:
        UserError, RunError: as of `Evaluation.play` and of the judge.
    """
    found: dict[str, JudgedBenchmark] = {}
    suite = evaluation.suite
    pieces = Pieces(Path() if folder is None else folder.path)
    total = sum(len(each.cases) for each in benchmarks.values()) * evaluation.repeats
    right: list[bool] = []
    so_far = Spending(prices or {})
    with progress("episodes", total) as advance:

        def done(trajectory: Trajectory) -> None:
            if trajectory.failure is None:
                right.append(trajectory.correct)
            so_far.add(trajectory)
            accuracy = percent(sum(right) / len(right)) if right else None
            advance(1, accuracy=accuracy, **so_far.figures())

        for name, benchmark in benchmarks.items():
            part = folder
            if folder is not None and suite.name:
                part = folder.part(f"judged/{name}")
            played = evaluation.play(benchmark.cases, benchmark.rules, part, done)
            judged = run(
                evaluation.policy,
                played.cases,
                benchmark.rules,
                sampling=suite.sampling,
                seed=evaluation.seed,
                trajectories=played.trajectories,
            )
            outcomes = [
                outcome_of(case, trajectory, name, pieces)
                for case, trajectory in zip(played.cases, played.trajectories, strict=True)
            ]
            found[name] = JudgedBenchmark(
                replace(judged, metrics={**judged.metrics, **further(outcomes)}),
                outcomes,
                Spending.of(played.trajectories, prices or {}),
            )
    return found
