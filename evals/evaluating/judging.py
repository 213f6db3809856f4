"""Each benchmark of an evaluation played and judged, while a bar shows how far it is.

Each episode is judged as it ends and then forgotten, so that memory does not grow with the cases.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medgym.cases import Case
from medgym.errors import RunError, StorageError
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
    outcomes: PackedRows[CaseOutcome]
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
    not_judged: dict[str, str] | None = None,
) -> dict[str, JudgedBenchmark]:
    """Play and judge each benchmark.

    Args:
        run: the judge.
        folder: where episodes are kept, those of a suite under `judged/BENCHMARK`.
        prices: of models, where the cost is wanted.
        on_outcome: is called with each episode, with those that the folder held too.
        not_judged: takes why a benchmark could not be judged, by its name, and the others go on.
            Without it the first such benchmark ends all.

    Raises:
        UserError, RunError: as of `Evaluation.play` and of the judge; not a single benchmark could
            be judged, or the folder takes nothing more.
    """
    found: dict[str, JudgedBenchmark] = {}
    total = sum(len(each.cases) for each in benchmarks.values()) * evaluation.repeats
    pieces = Pieces(Path() if folder is None else folder.path)
    so_far = SoFar(prices or {})
    with progress("episodes", total) as advance:

        def taken(case: Case, trajectory: Trajectory, outcome: CaseOutcome) -> None:
            so_far.add(outcome, trajectory)
            if on_outcome is not None:
                on_outcome(case, trajectory, outcome)
            advance(1, **so_far.figures())

        for name, benchmark in benchmarks.items():
            spent = Spending(prices or {})
            try:
                found[name] = _judged(
                    run, evaluation, name, benchmark, folder, pieces, spent, taken
                )
            except StorageError:
                raise
            except RunError as error:
                if not_judged is None or len(benchmarks) == 1:
                    raise
                not_judged[name] = str(error)
    if not found:
        raise why_not_judged(not_judged or {}, len(benchmarks))
    return found


def why_not_judged(why: Mapping[str, str], of: int) -> RunError:
    """The error that says which of a suite's benchmarks could not be judged, and why the first one
    could not."""
    name, first = next(iter(why.items()))
    first, _, fix = first.partition("; fix: ")
    others = f", nor could {', '.join(list(why)[1:])}" if len(why) > 1 else ""
    return RunError(
        f"{len(why)} of {of} benchmarks could not be judged: {name} ({first}){others}; "
        f"fix: {fix or 'remove the cause and run the same command again'}"
    )


def _judged(
    run: Judge,
    evaluation: Evaluation,
    name: str,
    benchmark: Benchmark,
    folder: RunFolder | None,
    pieces: Pieces,
    spent: Spending,
    on_outcome: OnOutcome,
) -> JudgedBenchmark:
    """Play and judge one benchmark."""
    suite, part = evaluation.suite, folder
    if folder is not None and suite.name:
        part = folder.part(f"judged/{name}")
    cases, rules = benchmark.cases, benchmark.rules
    tally = tally_of(
        run, suite.judge, evaluation.policy, cases, rules,
        sampling=suite.sampling, seed=evaluation.seed,
    )  # fmt: skip
    outcomes = PackedRows[CaseOutcome]()
    with closing(evaluation.play(cases, rules, part)) as stream:  # type: ignore[type-var]
        for case, trajectory in stream:
            outcome = outcome_of(case, trajectory, name, pieces)
            if (outcome.verdict == "right") != trajectory.correct:
                # A run is resumed whose episodes another version of a scorer has judged.
                trajectory = replace(trajectory, correct=not trajectory.correct)
            tally.add(case, trajectory)
            outcomes.add(outcome)
            spent.add(trajectory)
            on_outcome(case, trajectory, outcome)
    judged = tally.judgement()
    metrics = {**judged.metrics, **further(outcomes)}
    return JudgedBenchmark(replace(judged, metrics=metrics), outcomes, spent)
