"""The command `medgym rollout`: roll out episodes and store them."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from medgym.case_notes import note_lines, notes_of
from medgym.commands.branch import Origin
from medgym.commands.printing import percent, print_json, print_table, safe_line
from medgym.commands.shared_options import (
    AllowedHosts,
    AsJson,
    BackendName,
    BackendOption,
    Concurrency,
    MaxTokens,
    MaxTurns,
    NoTools,
    PolicySpec,
    RayAddress,
    RubricName,
    Seed,
    Temperature,
    ToolNames,
    ViewMultiple,
    ViewSize,
    Workers,
    cases_and_rules,
    tool_names,
)
from medgym.errors import RunError, UserError
from medgym.interrupt import resumed_by
from medgym.metrics.looking import late_calls
from medgym.permissions import by_recipe
from medgym.policy import Sampling
from medgym.progress import progress
from medgym.rollout import Tally
from medgym.rollout import collect as collected
from medgym.rollout.branching import branched, described
from medgym.rollout.request import named, ready
from medgym.storage.run_folder import RunFolder
from medgym.tool_record import specs_of, tool_facts
from medgym.unreadable import as_figures, unreadable_rows


def rollout(
    context: typer.Context,
    policy: PolicySpec,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="runs/NAME",
            help="The run's folder, new or to resume.",
        ),
    ],
    cases: Annotated[
        str | None,
        typer.Argument(
            metavar="CASES",
            help="SOURCE[,key=value]:SPLIT or FILE.jsonl; a slice such as [:100] may follow.",
        ),
    ] = None,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch",
            metavar="RUN[#CASE/MEMBER]",
            help="Play on from stored episodes: of each case the first that goes on after --turn, "
            "or the one that is named. Cases and rules are by default that run's.",
        ),
    ] = None,
    turn: Annotated[
        int | None,
        typer.Option(
            "--turn", min=0, help="How many replies of a branched episode are kept; 1 by default."
        ),
    ] = None,
    group_size: Annotated[
        int, typer.Option("--group-size", min=1, help="Episodes for each case.")
    ] = 1,
    tools: ToolNames = None,
    no_tools: NoTools = False,
    rubric: RubricName = "outcome",
    max_turns: MaxTurns = 6,
    view_size: ViewSize = None,
    view_multiple: ViewMultiple = 1,
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 512,
    seed: Seed = 0,
    backend: BackendOption = BackendName.LOCAL,
    workers: Workers = 2,
    ray_address: RayAddress = None,
    concurrency: Concurrency = 64,
    allow_host: AllowedHosts = None,
    as_json: AsJson = False,
) -> None:
    """Roll out a policy on every case; store the trajectories and all images that were shown.

    Run the same command again to resume an interrupted run.

    Example: medgym rollout phantom:train[:100] --policy scripted:random --out runs/random
    """
    origin = Origin.of(branch) if branch is not None else None
    chosen = tool_names(tools, no_tools)
    from_run = False
    if origin is not None:
        known = origin.asked()

        def is_default(*names: str) -> bool:
            sources = [context.get_parameter_source(name) for name in names]
            return all(source is not None and source.name == "DEFAULT" for source in sources)

        cases = known["cases"] if cases is None else cases
        from_run = is_default("tools", "no_tools")
        chosen = tuple(known["tools"]) if from_run else chosen
        rubric = known["rubric"] if is_default("rubric") else rubric
        max_turns = known["max_turns"] if is_default("max_turns") else max_turns
        view_size = known["view_size"] if is_default("view_size") else view_size
        view_multiple = known["view_multiple"] if is_default("view_multiple") else view_multiple
    elif turn is not None:
        raise UserError("--turn needs --branch; fix: name the run whose episodes are branched")
    if cases is None:
        raise UserError("no CASES are named; fix: name some, such as phantom:train[:100]")
    with by_recipe(from_run):  # a run may come from anyone
        played, rules = cases_and_rules(
            cases,
            tools=chosen,
            rubric=rubric,
            max_turns=max_turns,
            view_size=view_size,
            view_multiple=view_multiple,
        )
    with closing(ready(named(policy, backend.value))) as player:
        asked = {
            "command": "rollout", "cases": cases, "policy": player.spec, "group_size": group_size,
            "tools": specs_of(rules.tools), **tool_facts(rules.tools),
            "rubric": rubric, "max_turns": max_turns, "view_size": rules.view_size,
            "view_multiple": view_multiple if view_multiple > 1 else None,
            "temperature": temperature, "max_tokens": max_tokens,
            "seed": seed, **player.describe(),
        }  # fmt: skip
        pairs = None
        if origin is not None:
            pairs = origin.pairs(played, 1 if turn is None else turn)
            found = branched(pairs, played, player, rules)
            asked |= described([resume for _, resume in found])
        folder = RunFolder.create_or_resume(out, asked, seeds={"run": seed})
        resumed_by("run the same command again")
        total = (len(played) if pairs is None else len(pairs)) * group_size
        rewards: list[float] = []
        tally = Tally()

        def failed(now: Tally) -> None:
            tally.failures, tally.failed = now.failures, now.failed
            tally.unreadable = now.unreadable

        stream = collected(
            played,
            player,
            rules,
            group_size=group_size,
            resume_from=pairs,
            sampling=Sampling(temperature=temperature, max_tokens=max_tokens),
            seed=seed,
            backend=backend.value,
            workers=workers,
            ray_address=ray_address,
            concurrency=concurrency,
            out=folder,
            on_failure=failed,
        )
        with progress("episodes", total, done=len(folder.trajectories)) as advance:
            for trajectory in stream:
                if trajectory.reward is not None:
                    rewards.append(trajectory.reward)
                mean = sum(rewards) / len(rewards) if rewards else None
                advance(1, reward=mean, failures=tally.failures.total() or None)
    if tally.failed:
        first, reason = next(iter(tally.failed.items()))
        raise RunError(
            f"{len(tally.failed)} of {total} episodes failed, such as {first} ({reason}); "
            f"the others are in {out}; fix: remove the cause (MEDGYM_TRACEBACK=1 shows it) and run "
            "the same command again"
        )
    kept = list(folder.trajectories)
    parts = Counter(b.role for t in kept for b in t.branches if b.record.failure is not None)
    late = dict(late_calls(kept))
    of = total // group_size
    unreadable = as_figures(tally.unreadable, of)
    total -= len(tally.unreadable) * group_size
    counted = {
        **({"failed_parts": dict(parts)} if parts else {}),
        **({"late_calls": late} if late else {}),
        **({"unreadable": unreadable} if unreadable else {}),
    }
    notes = notes_of([(cases, played)])
    folder.finish(**counted, **notes)
    right = sum(t.correct for t in kept)
    answered = sum(t.answer is not None for t in kept)
    reward = sum(t.reward or 0.0 for t in kept)
    manifest = folder.manifest
    results = {
        "out": str(folder.path),
        "trajectories": manifest["counts"]["trajectories"],
        "correct": right / total,
        "answered": answered / total,
        "reward": reward / total,
        "content": manifest["content"]["trajectories"],
        **counted,
        **notes,
    }
    if as_json:
        print_json(results)
        return
    print_table(
        [
            ("run folder", str(folder.path)),
            ("trajectories", str(results["trajectories"])),
            ("right", percent(right / total)),
            *([("  of all cases", percent(right / (of * group_size)))] if unreadable else []),
            ("answered", percent(answered / total)),
            ("mean reward", f"{reward / total:.3f}"),
            ("content", str(results["content"])),
            *((f"failed parts of {role}", str(count)) for role, count in parts.items()),
            *((f"late calls of {tool}", str(count)) for tool, count in late.items()),
            *unreadable_rows(tally.unreadable, of),
        ]
    )
    for line in note_lines(notes):
        print(safe_line(line, None))
