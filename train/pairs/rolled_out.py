"""Groups of episodes that the policy of a run plays itself, round by round.

Each round is a run of its own in `trajectories/dpo/round-N/`. What it holds is not played again.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from medgym.cases import Case
from medgym.errors import UserError
from medgym.failures import unreadable_of
from medgym.policy import Policy
from medgym.progress import progress
from medgym.rollout import collect
from medgym.storage.adapters import Version
from medgym.storage.run_folder import RunFolder

from ..data.mixture import training_order
from ..data.records import UNREADABLE
from ..grpo.stage import check_engine, engine_of
from ..run.base import shape_of_base
from ..run.judging import model_policy
from ..run.opened import Run
from ..run.processes import count, is_first
from ..run.sharing import collect_shared, shared_folder


def plays(run: Run) -> bool:
    """Whether a run's pairs are made of what its own policy plays."""
    return run.recipe.pairs.folder is None and run.recipe.pairs.run is None


def cases_of(run: Run) -> Sequence[Case]:
    """The cases that pairs are made of, in the order of training."""
    if run.recipe.pairs.cases is None:
        return run.ordered
    return training_order(run.paired, run.recipe.cases.order, run.recipe.seed)


def cases_of_round(run: Run, number: int, rounds: int) -> Sequence[Case]:
    """The cases of one round, from 1 on: no case is in two rounds.

    Raises:
        UserError: there are fewer cases than rounds.
    """
    cases = cases_of(run)
    each = len(cases) // rounds
    if not each:
        raise UserError(
            f"{run.recipe.name}: {len(cases)} cases cannot be divided into {rounds} rounds; fix: "
            "more [pairs] cases, or fewer [dpo] rounds"
        )
    return cases[(number - 1) * each : number * each]


def check_player(run: Run) -> None:
    """Look whether the policy of `[rollout] policy` can play, as far as that is possible yet.

    Raises:
        UserError: it cannot.
    """
    recipe = run.recipe
    if not plays(run):
        return
    if recipe.rollout.backend == "ray" and count() > 1:
        raise UserError(
            f'{recipe.name}: [rollout] backend = "ray" plays the groups of pairs only in one '
            "process; fix: start one process, or remove it"
        )
    if "{base}" in (recipe.rollout.policy or ""):
        with shape_of_base(recipe) as base:
            check_engine(recipe, run.place, base)
    else:
        check_engine(recipe, run.place)


def roll_out(
    run: Run, cases: Sequence[Case], number: int = 1, adapter: Version | None = None
) -> RunFolder:
    """The groups of a round; those that are not there yet are rolled out, by all processes.

    Args:
        cases: of the round. number: of the round, from 1 on.
        adapter: by which the policy plays over the cold start; none in the first round.
    """
    recipe, samples = run.recipe, run.recipe.pairs.samples
    asked = {"round": number, "samples": samples, "policy": adapter.name if adapter else "start"}
    folder = shared_folder(folder_of(run, number), asked)
    if folder.manifest["status"] == "done":
        return folder
    rules, sampling, seed = run.rules(run.paired), run.sampling(), run.seed(f"pairs {number}")
    with _player(run, adapter) as policy, progress("groups", len(cases) * samples) as advance:
        if recipe.rollout.backend == "local":
            stream = collect_shared(
                cases, policy, rules, group_size=samples, sampling=sampling, seed=seed, out=folder
            )
        else:
            stream = collect(
                cases, policy, rules,
                group_size=samples, sampling=sampling, seed=seed, out=folder,
                backend=recipe.rollout.backend, workers=recipe.rollout.workers,
                ray_address=recipe.rollout.ray_address,
            )  # fmt: skip
        gone: dict[str, str] = {}
        for trajectory in stream:
            reason = unreadable_of(trajectory.failure)
            if reason is not None:
                gone[trajectory.case_id] = f"{UNREADABLE}{reason}"
            advance(1)
    if is_first():
        run.records.add("pairs", [{"case": case, "why": why} for case, why in gone.items()])
        folder.finish()
    return folder


def folder_of(run: Run, number: int) -> Path:
    """Where the groups of a round are."""
    return run.folder / "trajectories" / "dpo" / f"round-{number}"


@contextmanager
def _player(run: Run, adapter: Version | None) -> Iterator[Policy]:
    """The policy of a round: the model in this process, or the engine of `[rollout] policy`."""
    recipe = run.recipe
    engine = engine_of(recipe, run.place)
    if engine is None:
        path = None if adapter is None else adapter.path
        model = model_policy(
            run.place.cold_start,
            path,
            options=recipe.model.options.in_run,
            tool_form=recipe.tools.form,
        )
        asyncio.run(model.check())
        policy: Policy = model
    else:
        policy = engine if adapter is None else engine.with_adapter(adapter.name, adapter.path)
    try:
        yield policy
    finally:
        (engine or policy).close()
