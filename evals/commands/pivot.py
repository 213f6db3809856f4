"""The command `medgym pivot`: one reply at stored places, in place of whole episodes."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.commands.printing import print_json, print_table
from medgym.commands.shared_options import (
    AllowedHosts,
    AsJson,
    BackendName,
    BackendOption,
    Concurrency,
    MaxTokens,
    PolicySpec,
    RayAddress,
    Seed,
    Workers,
)
from medgym.errors import RunError
from medgym.interrupt import resumed_by
from medgym.policy import Sampling
from medgym.progress import progress
from medgym.rollout.request import named, ready
from medgym.storage.results import RESULTS, results
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

from ..evaluation import FAIL_ABOVE, has_failed
from ..outcomes.stored import run_and_policy
from ..pivot.asking import ask, refuse_roles
from ..pivot.figures import pivot_figures
from ..pivot.origin import digest_of, episodes_of, pivots_in
from ..pivot.places import Pivots, refuse_nothing
from ..pivot.scoring import PivotOutcome, outcome_of_pivot, write_pivots
from ..tables import interval
from .eval_options import FailAbove


class PivotsName(StrEnum):
    """Which replies with calls are pivots."""

    HIT = "hit"
    ALL = "all"
    FIRST = "first"


def pivot(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="The folder of a run; of a training also FOLDER:POLICY."
        ),
    ],
    policy: PolicySpec,
    pivots: Annotated[
        PivotsName,
        typer.Option(
            "--pivots",
            help="Of each episode the first reply whose look showed a gold region, all replies "
            "with calls, or the first of these.",
        ),
    ] = PivotsName.HIT,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="At most this many episodes of each benchmark."),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="Sampling temperature; 0 is greedy.")
    ] = 0.0,
    max_tokens: MaxTokens = 512,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="runs/NAME",
            help="Keep replies and results in this folder, new or to resume.",
        ),
    ] = None,
    fail_above: FailAbove = FAIL_ABOVE,
    backend: BackendOption = BackendName.LOCAL,
    workers: Workers = 2,
    ray_address: RayAddress = None,
    concurrency: Concurrency = 64,
    allow_host: AllowedHosts = None,
    as_json: AsJson = False,
) -> None:
    """Ask a policy for one reply at stored places, and compare its call with the recorded one.

    No episode is played on and no tool runs, so this costs a reply for each place.

    Example: medgym pivot runs/oracle --policy scripted:random
    """
    origin, part = run_and_policy(run)
    found = pivots_in(origin, episodes_of(origin, part, limit), pivots.value)
    places = {name: each.pivots for name, (_, each) in found.items()}
    refuse_nothing([each for every in places.values() for each in every], pivots.value, run)
    asked = {
        "command": "pivot",
        "run": run,
        "pivots": pivots.value,
        "places": digest_of(places),
        "limit": limit,
        "seed": seed,
        "sampling": {"temperature": temperature, "max_tokens": max_tokens},
    }
    with closing(ready(named(policy, backend.value))) as player:
        refuse_roles(player)
        asked |= {"policy": player.spec}
        folder = None
        if out is not None:
            recipe = asked | player.describe()
            folder = RunFolder.create_or_resume(out, recipe, seeds={"run": seed})
            resumed_by("run the same command again")
        start = time.monotonic()
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens)

        def stream(name: str, part: RunFolder | None) -> Any:
            rules, each = found[name]
            return ask(
                each.pivots, player, rules, sampling=sampling, seed=seed, concurrency=concurrency,
                backend=backend.value, workers=workers, ray_address=ray_address, out=part,
            )  # fmt: skip

        outcomes = _outcomes(
            {n: each for n, (_, each) in found.items()}, stream, folder, fail_above
        )
        seconds = {"ask": round(time.monotonic() - start, 1)}
    rows = {name: pivot_figures(each) for name, each in outcomes.items()}
    content = results(
        {key: value for key, value in asked.items() if value is not None}
        | {
            "pivot": [
                {"benchmark": name, **_counts(found[name][1], outcomes[name])}
                | {key: rate.as_dict() for key, rate in figures.items()}
                for name, figures in rows.items()
            ]
        },
        {},
        seconds,
    )
    if folder is not None:
        write_pivots(folder.path, [row for each in outcomes.values() for row in each])
        folder.write_json(RESULTS, content)
        folder.finish()
        content["out"] = str(folder.path)
    if as_json:
        print_json(content)
        return
    for name, figures in rows.items():
        if name:
            print(name)
        counts = _counts(found[name][1], outcomes[name])
        print_table(
            [
                *((key, f"{value:,}") for key, value in counts.items()),
                *((key, f"{interval(rate)} of {rate.n}") for key, rate in figures.items()),
            ]
        )
    if folder is not None:
        print(f"replies: {folder.path / 'pivots.parquet'}")


def _counts(pivots: Pivots, outcomes: list[PivotOutcome]) -> dict[str, int]:
    """How many replies were asked for, beside how many the whole episodes have."""
    failed = sum(each.failure is not None for each in outcomes)
    counts = {"replies asked for": len(pivots.pivots), "replies of the episodes": pivots.replies}
    more = {
        "episodes without such a call": pivots.none,
        "episodes left out": pivots.left_out,
        "replies that failed": failed,
    }
    return counts | {name: count for name, count in more.items() if count}


def _outcomes(
    pivots: Mapping[str, Pivots],
    stream: Callable[[str, RunFolder | None], Any],
    folder: RunFolder | None,
    fail_above: float,
) -> dict[str, list[PivotOutcome]]:
    """What became of each pivot, in the order of the pivots."""
    found: dict[str, list[PivotOutcome]] = {}
    total = sum(len(each.pivots) for each in pivots.values())
    failed: list[Trajectory] = []
    with progress("replies", total) as advance:
        for name, each in pivots.items():
            part = folder.part(f"judged/{name}") if folder is not None and name else folder
            replies = {t.case_id: t for t in (part.trajectories if part is not None else ())}
            advance(len(replies))
            with closing(stream(name, part)) as fresh:
                for trajectory in fresh:
                    replies[trajectory.case_id] = trajectory
                    advance(1)
                    failed += [trajectory] if has_failed(trajectory) else []
                    if len(failed) > fail_above * total:
                        raise RunError(
                            f"{len(failed)} of {total} replies failed, the first at "
                            f"{failed[0].case_id} ({failed[0].failure}); fix: remove the cause and "
                            "run the same command again, or allow more (--fail-above)"
                        )
            found[name] = [
                outcome_of_pivot(pivot, replies[pivot.asked.id], name) for pivot in each.pivots
            ]
    return found
