"""The command `medgym eval`: judge a policy on cases, with an interval.

Each case is played once. With `--out` the run's folder keeps the trajectories, every image that was
shown and `results.json`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.commands.printing import percent, print_columns, print_json, print_table
from medgym.commands.shared_options import (
    AsJson,
    CasesSpec,
    MaxTokens,
    MaxTurns,
    NoTools,
    PolicySpec,
    RubricName,
    Seed,
    Temperature,
    ToolNames,
    ViewSize,
    cases_and_rules,
    ready,
    tool_names,
)
from medgym.judge import Judgement, load_judge
from medgym.metrics.rate import Rate
from medgym.policy import Sampling, load_policy
from medgym.progress import progress
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import save


def evaluate(
    cases: CasesSpec,
    policy: PolicySpec,
    tools: ToolNames = None,
    no_tools: NoTools = False,
    rubric: RubricName = "outcome",
    max_turns: MaxTurns = 6,
    view_size: ViewSize = None,
    temperature: Temperature = 1.0,
    greedy: Annotated[bool, typer.Option("--greedy", help="The same as --temperature 0.")] = False,
    max_tokens: MaxTokens = 512,
    seed: Seed = 0,
    judge: Annotated[str, typer.Option("--judge", help="A registered judge.")] = "vqa",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="runs/NAME", help="Keep what was played in this new folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a policy on cases: accuracy with its 95 % interval, and whether it looked.

    Example: medgym eval phantom,question=kind:test[:200] --policy scripted:prior
    """
    temperature = 0.0 if greedy else temperature
    chosen = tool_names(tools, no_tools)
    played, rules = cases_and_rules(
        cases, tools=chosen, rubric=rubric, max_turns=max_turns, view_size=view_size
    )
    run_judge = load_judge(judge)
    player = ready(load_policy(policy))
    folder = None
    if out is not None:
        asked: dict[str, Any] = {
            "command": "eval", "cases": cases, "policy": player.spec, "tools": list(chosen),
            "rubric": rubric, "judge": judge, "max_turns": max_turns, "view_size": rules.view_size,
            "temperature": temperature, "max_tokens": max_tokens, "seed": seed,
            **player.describe(),
        }  # fmt: skip
        folder = RunFolder.create(out, asked, seeds={"run": seed})
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
    with progress("cases", len(played)) as advance:
        judgement = run_judge(
            player,
            played,
            rules,
            sampling=sampling,
            seed=seed,
            on_progress=lambda done: advance(1),
            on_messages=folder.keep_images if folder is not None else None,
        )
    player.close()
    results = {"policy": player.spec, "cases": cases, **figures(judgement)}
    if folder is not None:
        save(judgement.trajectories, folder.path)
        folder.write_json("results.json", results)
        folder.finish()
        results["out"] = str(folder.path)
    if as_json:
        print_json(results)
    else:
        print_table(rows(judgement))
        if judgement.roles:
            print()
            print_columns(("role", *_ROLE), role_rows(judgement))


def figures(judgement: Judgement) -> dict[str, Any]:
    """A judgement as plain data, without its trajectories."""
    return {
        "accuracy": asdict(judgement.accuracy),
        "answered": judgement.answered,
        "looked": judgement.looked,
        "hit": judgement.hit,
        "turns": judgement.turns,
        "calls": judgement.calls,
        "tokens": judgement.tokens,
        "roles": {role: asdict(figures) for role, figures in judgement.roles.items()},
        "by_answer": {answer: asdict(rate) for answer, rate in judgement.by_answer.items()},
    }


def rows(judgement: Judgement) -> list[tuple[str, str]]:
    """A judgement as a person reads it."""
    accuracy = judgement.accuracy
    return [
        ("policy", judgement.policy),
        ("cases", str(accuracy.n)),
        ("accuracy", _interval(accuracy)),
        ("answered", percent(judgement.answered)),
        ("looked", percent(judgement.looked)),
        ("hit a gold region", percent(judgement.hit)),
        ("replies", f"{judgement.turns:.2f}"),
        ("tool calls", f"{judgement.calls:.2f}"),
        *([("tokens", f"{judgement.tokens:.0f}")] if judgement.tokens else []),
        *((f"  {answer}", f"{_interval(r)} of {r.n}") for answer, r in judgement.by_answer.items()),
    ]


_ROLE = ("parts", "right", "answered", "failed", "replies", "calls", "tokens", "seconds")


def role_rows(judgement: Judgement) -> list[tuple[str, ...]]:
    """What each role of a consultation did: how many parts, how well, at what cost a part."""
    return [
        (
            role, str(r.right.n), percent(r.right.value if r.right.n else None),
            percent(r.answered), str(r.failed), _mean(r.turns, 2), _mean(r.calls, 2),
            _mean(r.tokens, 0), _mean(r.seconds, 2),
        )
        for role, r in judgement.roles.items()
    ]  # fmt: skip


def _mean(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(rate: Rate) -> str:
    return f"{percent(rate.value)} (95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f})"
