"""Several losses on the same pairs, from the same cold start: the benchmark of preferences.

As in the benchmark of DPO for medicine (arXiv 2601.17918), only the loss differs. Each seed is a
run of its own; in its folder every loss has a role, as `adapters/mdpo/`. What is done is kept. A
loss whose policy stopped answering or seeing has no figures; its row says by what name it stopped.
"""

import json
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch

from medgym.commands.printing import percent, print_columns
from medgym.errors import UserError
from medgym.metrics.intervals import Interval, difference_interval
from medgym.metrics.looking import hit
from medgym.metrics.mean_rate import mean_rate
from medgym.metrics.rate import Rate
from medgym.storage.atomic import write_atomic
from medgym.storage.json_files import read_json
from medgym.storage.layout import Place
from medgym.storage.trajectories import TrajectoryStore
from medgym.trajectory import Trajectory

from ..grpo.blindness import Blind
from ..models.checkpoint import load_model
from ..pairs.built import cases_for, pairs_of
from ..pairs.noised import noised
from ..recipe.schema import Recipe
from ..run.folder import open_folder
from ..run.judging import Contestant, judge_each, trained_policy
from ..run.opened import Run
from ..run.processes import everyone, is_first
from ..run.stage import Stage, TrainedPolicy, do
from ..run.stages import START, check, plug_ins
from .losses import NamedLoss
from .stage import DpoStage, held_out_of
from .training import train_dpo
from .watch import Collapsed

STOPPED = "stopped.json"
"""In the folder of a seed: why which losses stopped, by their roles."""

START_NAME = "cold_start"


class LossStage(DpoStage):
    """One loss, on the pairs that all of them learn from."""

    def __init__(self, loss: NamedLoss) -> None:
        self._loss = loss
        self.name = loss.role  # type: ignore[misc] # each has its own

    def check(self, run: Run) -> None:
        """As DPO with this loss."""
        super().check(Run(self._loss.recipe(run.recipe), run.folder))

    def do(self, run: Run) -> None:
        """Train, from the cold start or from the last checkpoint, and publish the adapter.

        A policy that stops answering or seeing is noted, and the next loss begins.
        """
        try:
            self._train(run)
        except (Collapsed, Blind) as error:
            if is_first():
                print(f"{self._loss.name}: {error}", file=sys.stderr)
                found = stopped_in(run) | {self.name: f"{type(error).__name__}: {error}"}
                write_atomic(run.folder / STOPPED, json.dumps(found, indent=1).encode())

    def _train(self, run: Run) -> None:
        loss, recipe = self._loss, run.recipe
        folder = pairs_of(run)
        if loss.noised:
            folder = noised(folder, run.folder / "pairs" / "noised", run.paired, run.seed("noise"))
        model, processor = load_model(run.place.cold_start, recipe.model.options.in_run)
        train_dpo(
            loss.recipe(recipe),
            model,
            processor,
            folder.pairs(),
            folder.images.get,
            Place(run.folder, loss.role),
            weight=loss.weight,
            cases=cases_for(run, folder),
            rules=run.rules(run.paired),
            sampling=run.sampling(),
            held_out=held_out_of(run),
            what=f"DPO {loss.name}",
        )

    def policies(self, run: Run) -> Sequence[TrainedPolicy]:
        """The policy after its last step, unless it stopped before."""
        if self.name in stopped_in(run):
            return ()
        place = Place(run.folder, self._loss.role)
        return (TrainedPolicy(self._loss.role, self._loss.name, *place.trained),)


def stopped_in(run: Run) -> dict[str, str]:
    """Why which losses of a seed stopped, by their roles."""
    path = run.folder / STOPPED
    return dict(read_json(path)) if path.exists() else {}


class BenchmarkJudging(Stage):
    """The cold start and the policy of each loss on the held-out cases, sampled and greedy."""

    needs: ClassVar[tuple[str, ...]] = (START_NAME,)
    together: ClassVar[bool] = True

    def __init__(self, losses: Sequence[LossStage]) -> None:
        self._losses = losses
        self.name = f"judge {' '.join(each.name for each in losses)}"  # type: ignore[misc]

    def do(self, run: Run) -> None:
        """Keep the trajectories of every policy under `judged/`."""
        start = TrainedPolicy(START_NAME, "cold start", run.place.cold_start)
        policies = [start, *(each for stage in self._losses for each in stage.policies(run))]
        rules = run.rules(run.test)
        asked = [
            Contestant(
                each.name,
                partial(trained_policy, each, run),
                run.test,
                rules,
                lambda greedy: run.sampling(greedy=greedy),
            )
            for each in policies
        ]
        for _ in judge_each(asked, run.place, run.seed("judge")):
            pass


@dataclass(frozen=True)
class BenchmarkRow:
    """A line of the table, over all seeds.

    Attributes:
        name: of the loss, or `cold start`. terms: its weights; none of the cold start.
        accuracy: over all seeds, with the interval over groups of cases, for these seeds: the
            answers to one case are not independent. by_seed: of each seed.
        answered, looked, hit: shares of the same episodes; `hit` of those cases that have regions.
        over_start, over_first: the paired difference to the cold start, and to the first loss; None
            where that is the row itself.
        stopped: why it stopped, by seed; such a loss has no figures.
    """

    name: str
    terms: Mapping[str, float] | None
    accuracy: Rate | None = None
    by_seed: Mapping[str, Rate] = field(default_factory=dict)
    answered: float | None = None
    looked: float | None = None
    hit: float | None = None
    over_start: Interval | None = None
    over_first: Interval | None = None
    stopped: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As `benchmark.json` holds it."""
        return asdict(self)


def benchmark(
    recipe: Recipe, text: str, losses: Sequence[NamedLoss], seeds: Sequence[int], out: Path
) -> list[BenchmarkRow]:
    """Train and judge all losses under all seeds; what is done already is kept.

    Raises:
        UserError: the recipe has no DPO, or several rounds of it, or lacks what a run needs.
    """
    check_benchmark(recipe)
    runs = [Run(recipe.model_copy(update={"seed": seed}), out / f"seed-{seed}") for seed in seeds]
    training = [LossStage(loss) for loss in losses]
    stages = (*START, *training, BenchmarkJudging(training))
    for run in runs:
        check(run, stages)
    if recipe.model.build is not None:
        torch.set_num_threads(1)  # as in `train`
    for run in runs:
        kept = None
        if is_first():
            begun = (run.folder / "manifest.json").is_file()
            used = plug_ins(run, stages)
            kept = open_folder(run.folder, run.recipe, text, used, resume=begun)
        do(stages, run)
        if kept is not None:
            kept.finish()
    everyone(None)
    rows = rows_of(runs, losses)
    if is_first():
        found = {
            "recipe": recipe.name,
            "cases": recipe.cases.test,
            "seeds": list(seeds),
            "pairs": {str(run.recipe.seed): len(pairs_of(run)) for run in runs},
            "seconds": {str(run.recipe.seed): run.place.stages() for run in runs},
            "rows": [row.as_dict() for row in rows],
        }
        write_atomic(out / "benchmark.json", json.dumps(found, indent=1).encode())
    return rows


def check_benchmark(recipe: Recipe) -> None:
    """Make sure that a recipe trains by DPO on one set of pairs.

    Raises:
        UserError: it does not.
    """
    if not recipe.dpo:
        raise UserError(f"{recipe.name} has no [dpo]; fix: name a recipe with it, as dpo-tiny")
    if int(recipe.dpo.get("rounds", 1)) > 1:
        raise UserError(
            f"{recipe.name} makes new pairs in each of several rounds, and losses are compared on "
            "the same; fix: name a recipe without [dpo] rounds"
        )


def rows_of(runs: Sequence[Run], losses: Sequence[NamedLoss]) -> list[BenchmarkRow]:
    """The lines of the table, from the trajectories of the judging."""
    named = {START_NAME: None, **{loss.role: loss for loss in losses}}
    why = {str(run.recipe.seed): stopped_in(run) for run in runs}
    stopped = {
        name: {seed: found[name] for seed, found in why.items() if name in found} for name in named
    }
    played = {name: [_by_case(run, name) for run in runs] for name in named if not stopped[name]}
    ids = list(played[START_NAME][0])
    unit = {case.id: (case.source, case.group or case.id) for case in runs[0].test}
    units = [unit[case] for case in ids]
    right = {
        name: [sum(run[case].correct for run in found) / len(found) for case in ids]
        for name, found in played.items()
    }
    regions = {case.id: case for case in runs[0].test if case.regions}
    first = losses[0].role
    rows = []
    for name, loss in named.items():
        if loss is not None and stopped[name]:
            rows.append(BenchmarkRow(loss.name, dict(loss.terms), stopped=stopped[name]))
            continue
        every = [run[case] for run in played[name] for case in ids]
        hits = [bool(hit(regions[t.case_id], t)) for t in every if t.case_id in regions]
        rows.append(
            BenchmarkRow(
                name=loss.name if loss is not None else "cold start",
                terms=dict(loss.terms) if loss is not None else None,
                accuracy=mean_rate(right[name], units),
                by_seed={
                    str(run.recipe.seed): Rate.of([found[case].correct for case in ids], units)
                    for run, found in zip(runs, played[name], strict=True)
                },
                answered=sum(t.answer is not None for t in every) / len(every),
                looked=sum(bool(t.looks) for t in every) / len(every),
                hit=sum(hits) / len(hits) if hits else None,
                over_start=_over(right, name, START_NAME, units),
                over_first=_over(right, name, first, units) if loss is not None else None,
            )
        )
    return rows


def _over(
    right: Mapping[str, list[float]], name: str, other: str, units: Sequence[Hashable]
) -> Interval | None:
    """The paired difference; None to itself, and to a loss that stopped."""
    if name == other or other not in right:
        return None
    gains = [ours - theirs for ours, theirs in zip(right[name], right[other], strict=True)]
    return difference_interval(gains, units)


def _by_case(run: Run, name: str) -> dict[str, Trajectory]:
    return {each.case_id: each for each in TrajectoryStore(run.place.judged(name))}


def print_rows(rows: Sequence[BenchmarkRow], recipe: Recipe, seeds: Sequence[int]) -> None:
    """The table, with the losses' gains in percentage points."""
    first = rows[1].name
    said = f"{recipe.name}, {'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}"
    headings = (said, "sampled", "95 % interval", "answered", "over cold start", f"over {first}")
    table = [
        (
            row.name,
            "stopped" if row.accuracy is None else percent(row.accuracy.value),
            _interval(row),
            "-" if row.answered is None else percent(row.answered),
            _points(row.over_start),
            _points(row.over_first),
        )
        for row in rows
    ]
    print_columns(headings, table)


def _interval(row: BenchmarkRow) -> str:
    if row.accuracy is None:
        names = sorted({why.partition(":")[0] for why in row.stopped.values()})
        return f"{', '.join(names)} (seed {', '.join(row.stopped)})"
    return f"{100 * row.accuracy.low:.1f} to {100 * row.accuracy.high:.1f}"


def _points(found: Interval | None) -> str:
    if found is None:
        return "-"
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
