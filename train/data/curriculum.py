"""Which cases GRPO is trained on, and in which order: by their difficulty for a policy.

A case's difficulty is the policy's own rate of failure on it over a few episodes. The order is from
easy to hard (MMedAgent-RL, arXiv 2506.00555, orders cases by how often others answer them right:
always, sometimes, never). Cases that were not measured come last. The order is written to
`curriculum.jsonl` before training begins, so that a resumed run has it too; what is left out is in
`selection.jsonl`. The episodes that measured the difficulty are a run of their own, in
`curriculum/`.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from medgym.cases import Case
from medgym.episode import Rules
from medgym.local_model import LocalModel
from medgym.policy import Policy, Sampling, load_policy
from medgym.progress import progress
from medgym.seeds import seed_of
from medgym.storage.atomic import write_atomic
from medgym.storage.json_files import read_lines

from ..recipe.schema import CurriculumTable, Recipe
from ..run.fingerprint import PlugIn, of_play, of_policies
from ..run.judging import model_policy
from ..run.opened import Run
from ..run.policies import check_policy
from ..run.processes import is_first
from ..run.sharing import collect_shared, shared_folder
from ..run.stage import Stage
from .order import needed
from .records import Records

SELF = "self"
"""The policy after its cold start, in `[curriculum] difficulty`."""


class CurriculumStage(Stage):
    """`[curriculum]`: the cases of GRPO are chosen, and ordered from easy to hard."""

    name: ClassVar[str] = "curriculum"
    needs: ClassVar[tuple[str, ...]] = ("cold_start",)
    together: ClassVar[bool] = True

    def wanted(self, run: Run) -> bool:
        """Where cases are chosen or ordered."""
        return asked_for(run.recipe.curriculum)

    def check(self, run: Run) -> None:
        """Look for the policy that measures difficulty."""
        measuring = run.recipe.curriculum.difficulty
        if measuring not in (None, SELF):
            check_policy(str(measuring))

    def plug_ins(self, run: Run) -> Iterator[PlugIn]:
        """Who measures the difficulty, and what its episodes are played with."""
        measuring = run.recipe.curriculum.difficulty
        yield from of_play(run.recipe, run.train)
        yield from of_policies(None if measuring == SELF else measuring)

    def do(self, run: Run) -> None:
        """Write the order into the run's folder."""
        recipe = run.recipe
        student = model_policy(
            run.place.cold_start,
            options=recipe.model.options.in_run,
            tool_form=recipe.tools.form,
        )
        try:
            rules, sampling = run.rules(run.train), run.sampling()
            arrange(run.recipe, run.ordered, student, rules, sampling, run.folder)
        finally:
            student.close()


def asked_for(table: CurriculumTable) -> bool:
    """Whether cases are chosen or ordered before training."""
    return table.difficulty is not None or table.share < 1


def arrange(
    recipe: Recipe,
    cases: Sequence[Case],
    student: LocalModel,
    rules: Rules,
    sampling: Sampling,
    folder: Path,
) -> None:
    """Choose and order the cases, and write both down in the run's folder.

    Of several processes all measure, and the first one chooses.

    Args:
        cases: all, in the order that `[cases]` asks for.
        student: the policy after its cold start.
    """
    table, records = recipe.curriculum, Records(folder)
    if is_first():
        records.forget("curriculum")
    wanted = needed(recipe.grpo, round(table.share * len(cases)) or 1)
    pool = list(cases[: min(len(cases), round(wanted / table.share))])
    success: dict[str, float] = {}
    if table.difficulty is not None:
        named = table.difficulty
        policy = student if named == SELF else load_policy(named, by_recipe=True)
        try:
            asyncio.run(policy.check())
            success = measure(
                pool, policy, rules, sampling, folder / "curriculum", table.samples, recipe.seed
            )
        finally:
            if policy is not student:
                policy.close()
    if not is_first():
        return
    if table.share < 1:
        from .case_selection import curate, represent

        weights = [_informative(success.get(case.id), table.samples) for case in pool]
        curated = curate(
            represent(pool, student, rules),
            table.share,
            seed=seed_of(recipe.seed, "curator") % 2**32,
            weights=weights if success else None,
        )
        why = sorted(curated.left_out.items())
        records.add("curriculum", [{"case": pool[i].id, "why": reason} for i, reason in why])
        pool = [pool[i] for i in curated.kept]
    if success:
        pool.sort(key=lambda case: -success.get(case.id, -1.0))
    rows = [{"case": case.id, "success": success.get(case.id)} for case in pool]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    write_atomic(folder / "curriculum.jsonl", text.encode("utf-8"))


def arranged(cases: Sequence[Case], folder: Path) -> list[Case]:
    """The cases as `arrange` wrote them down; of `cases`, no more are made than that takes."""
    names = [line["case"] for line in read_lines(folder / "curriculum.jsonl")]
    missing, known = set(names), dict[str, Case]()
    for case in cases:
        if case.id in missing:
            missing.remove(case.id)
            known[case.id] = case
            if not missing:
                break
    return [known[name] for name in names]


def measure(
    cases: Sequence[Case],
    policy: Policy,
    rules: Rules,
    sampling: Sampling,
    folder: Path,
    samples: int,
    seed: int,
) -> dict[str, float]:
    """A policy's rate of success on each case, by case id; of a case that always failed, none.

    The episodes are kept in `folder`; those that are there already are not played again.
    """
    asked = {"policy": policy.spec, "samples": samples, "seed": seed}
    run = shared_folder(folder, asked)
    stream = collect_shared(
        cases,
        policy,
        rules,
        group_size=samples,
        sampling=sampling,
        seed=seed_of(seed, "difficulty"),
        out=run,
    )
    with progress("difficulty", len(cases) * samples) as advance:
        for _ in stream:
            advance(1)
    if is_first():
        run.finish()
    right: dict[str, list[bool]] = {}
    for trajectory in run.trajectories:
        right.setdefault(trajectory.case_id, []).append(trajectory.correct)
    return {name: sum(each) / len(each) for name, each in right.items()}


def _informative(success: float | None, samples: int) -> float:
    """How much a group would learn from a case: 4 p (1 - p), p as Laplace would estimate it."""
    p = 0.5 if success is None else (success * samples + 1) / (samples + 2)
    return 4 * p * (1 - p)
