"""Runs of one recipe with several seeds, taken together, against those of another recipe."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.storage.run_folder import RunFolder

from .comparison import counted_in, is_right, paired
from .outcomes.columns import NumberColumns
from .outcomes.packed import PackedRows
from .outcomes.stored import outcomes_of, run_and_policy
from .protocol import PROTOCOL, same_views
from .statistics.paired import holm
from .statistics.seeds import SeededDifference, seeded_difference

OF_EVALUATIONS = (*PROTOCOL, "cases", "suite", "rubric", "repeats", "limit")
"""What evaluations of one recipe's policies have in common."""


@dataclass(frozen=True)
class PooledCompared:
    """How the runs of the second recipe did against those of the first, on one benchmark.

    Attributes:
        benchmark: its name; empty where there is only one.
        difference: second less first.
        adjusted: its p, adjusted over all benchmarks (Holm).
        cases: how many were compared. left_out: those that some run could not read or play.
        counted: what is counted, as in `medgym.evals.comparison.Compared`.
    """

    benchmark: str
    difference: SeededDifference
    adjusted: float
    cases: int
    left_out: int
    counted: str = "cases"


def runs_of(argument: str) -> list[str]:
    """The runs that `A0,A1,A2` names; a folder whose own name has a comma is one run.

    Raises:
        UserError: one is named twice, or is empty.
    """
    if Path(argument).is_dir():
        return [argument]
    names = [name.strip() for name in argument.split(",")]
    if "" in names:
        raise UserError(f"{argument!r} names a run without a name; fix: write A0,A1,A2")
    if len({_place(name) for name in names}) < len(names):
        raise UserError(f"{argument} names a run twice; fix: name each once")
    return names


def _place(name: str) -> tuple[Path, str]:
    folder, policy = run_and_policy(name)
    return folder.path.resolve(), policy


def require_one_recipe(names: Sequence[str]) -> None:
    """Hold that runs are of one recipe and differ in their seeds, or in the policy they judge.

    Raises:
        UserError: they are not, and the first difference is named.
    """
    opened = [run_and_policy(name) for name in names]
    asked = [_asked(folder) for folder, _ in opened]
    trained = ["command" not in each for each in asked]
    for name, other, training in zip(names[1:], asked[1:], trained[1:], strict=True):
        keys = asked[0].keys() | other.keys() if training else OF_EVALUATIONS
        differing = sorted(
            key for key in keys if key != "seed" and asked[0].get(key) != other.get(key)
        )
        if differing or training != trained[0]:
            what = ", ".join(differing) or "what they are"
            raise UserError(
                f"{names[0]} and {name} are not of one recipe (they differ in {what}); fix: join "
                "only runs by commas that differ in their seed"
            )
    policies = {policy for _, policy in opened}
    if len(policies) > 1:
        raise UserError(
            f"{', '.join(names)} are of different policies ({', '.join(sorted(policies))}); fix: "
            "name one policy of all, such as A0:grpo,A1:grpo"
        )
    played = {(each.get("seed"), str(each.get("policy"))) for each in asked}
    if len(played) < len(asked):
        raise UserError(
            f"two of {', '.join(names)} have one seed and one policy, so that they say nothing of "
            "other seeds; fix: train with --seed 0, --seed 1, ..."
        )


def _asked(folder: RunFolder) -> Mapping[str, Any]:
    """What a run was asked; of a training its recipe with what was overridden."""
    recipe = folder.manifest.get("recipe")
    return recipe if isinstance(recipe, dict) else folder.asked


def compare_pooled(
    first: Sequence[str], second: Sequence[str], *, lenient: bool = False
) -> list[PooledCompared]:
    """Compare the runs of two recipes, benchmark by benchmark.

    Raises:
        UserError: a recipe has one run only, its runs are not of one recipe, or the runs are not
            of the same cases or scorers.
    """
    for names in (first, second):
        if len(names) < 2:
            raise UserError(
                f"{names[0]} is one run, and one seed does not say how much seeds differ; fix: "
                "name two runs or more on both sides, or one on both"
            )
        require_one_recipe(names)
    every = [*first, *second]
    outcomes = [outcomes_of(name) for name in every]
    asked = [_asked(run_and_policy(name)[0]) for name in every]
    aligned = [
        PackedRows(
            pair[1]
            for pair in paired(
                outcomes[0], each, (every[0], name), same_views(asked[0], its), lenient=lenient
            )
        )
        for name, each, its in zip(every, outcomes, asked, strict=True)
    ]
    found = {}
    for benchmark, of in Counter(each.benchmark for each in aligned[0]).items():
        rows = (
            (row[0].unit, *(is_right(each, lenient) for each in row))
            for row in zip(*aligned, strict=True)
            if row[0].benchmark == benchmark and all(each.is_counted for each in row)
        )
        counted = NumberColumns(rows, len(every))
        groups = counted.groups()
        if not groups:
            raise UserError(
                f"no case{f' of {benchmark}' if benchmark else ''} could be played in all runs; "
                "fix: remove the cause and evaluate again"
            )
        found[benchmark] = _difference(counted, len(first)), len(groups), of
    adjusted = holm([difference.p for difference, _, _ in found.values()])
    called = counted_in(aligned[0])
    return [
        PooledCompared(benchmark, difference, p, count, of - count, called)
        for (benchmark, (difference, count, of)), p in zip(found.items(), adjusted, strict=True)
    ]


def _difference(counted: NumberColumns, of_first: int) -> SeededDifference:
    scores = counted.values.tolist()
    found = seeded_difference(scores[:of_first], scores[of_first:], counted.groups())
    gap = found.interval  # of two shares, so that there is nothing beyond -1 and 1
    inside = replace(gap, low=max(-1.0, gap.low), high=min(1.0, gap.high))
    return replace(found, interval=inside)
