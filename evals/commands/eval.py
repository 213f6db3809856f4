"""The command `medgym eval`: judge a policy on cases or on a suite, with intervals.

Each case is rolled out once. With `--out` the run's folder keeps the trajectories, every image that
was shown, and `results.json` (see `medgym.storage.results`).
"""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.cases import CaseList
from medgym.commands.printing import print_columns, print_json, print_table
from medgym.commands.shared_options import (
    AllowedHosts,
    AsJson,
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
    tool_names,
)
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.judge import Judge, Judgement, load_judge
from medgym.policy import Policy, Sampling, load_policy
from medgym.progress import progress
from medgym.registry import names
from medgym.rollout.record import held_episodes
from medgym.rollout.request import ready
from medgym.storage.results import RESULTS, results
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.suite import Suite, load_suite
from medgym.trajectory import Trajectory

from ..tables import BENCHMARK, ROLE, benchmark_rows, role_rows, rows, withheld_rows

PROTOCOL = (
    "tools",
    "no_tools",
    "rubric",
    "max_turns",
    "temperature",
    "greedy",
    "max_tokens",
    "judge",
)
"""The options that a suite sets."""


def evaluate(
    context: typer.Context,
    cases: Annotated[
        str,
        typer.Argument(
            metavar="CASES|SUITE",
            help="SOURCE[,key=value]:SPLIT or FILE.jsonl (a slice such as [:100] may follow), or a "
            "suite.",
        ),
    ],
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
    judge: Annotated[
        str, typer.Option("--judge", metavar="NAME", help="A registered judge.")
    ] = "vqa",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="runs/NAME",
            help="Keep episodes and results in this folder, new or to resume.",
        ),
    ] = None,
    allow_host: AllowedHosts = None,
    as_json: AsJson = False,
) -> None:
    """Judge a policy: accuracy with its 95 % interval, the mean reward, and whether it looked.

    Example: medgym eval phantom,question=kind:test[:200] --policy scripted:prior
    """
    if ":" not in cases and not cases.endswith(".jsonl"):
        suite = _suite(context, cases)
    else:
        suite = Suite(
            name="",
            benchmarks={"": cases},
            tools=tool_names(tools, no_tools),
            rubric=rubric,
            max_turns=max_turns,
            sampling=Sampling(temperature=0.0 if greedy else temperature, max_tokens=max_tokens),
            judge=judge,
        )
    benchmarks = {
        name: _Benchmark(
            *cases_and_rules(
                spec, tools=suite.tools, rubric=suite.rubric, max_turns=suite.max_turns,
                view_size=view_size,
            )
        )
        for name, spec in suite.benchmarks.items()
    }  # fmt: skip
    for benchmark in benchmarks.values():
        if not benchmark.cases.all_gold:
            for _ in benchmark.cases:  # one that cannot be scored is named before any is played
                pass
    run = load_judge(suite.judge)
    with closing(ready(load_policy(policy))) as player:
        folder = None
        if out is not None:
            folder = RunFolder.create_or_resume(
                out, _recipe(suite, player, benchmarks, seed, view_size), seeds={"run": seed}
            )
        start = time.monotonic()
        found = _judged(run, player, suite, benchmarks, seed, folder)
        seconds = {"judge": round(time.monotonic() - start, 1)}
    content = _results(suite, benchmarks, found, seed, seconds)
    if folder is not None:
        folder.write_json(RESULTS, content)
        folder.finish()
        content["out"] = str(folder.path)
    if as_json:
        print_json(content)
    else:
        _print(suite, found)


@dataclass(frozen=True)
class _Benchmark:
    cases: CaseList
    rules: Rules


def _suite(context: typer.Context, name: str) -> Suite:
    """The suite, where the command does not set anything that the suite sets."""
    known = names("suites")
    if name not in known:
        raise UserError(
            f"cannot read the cases {name!r}, and no suite has that name; fix: write SOURCE:SPLIT, "
            f"a .jsonl file, or a suite ({', '.join(known)})"
        )
    for option in PROTOCOL:
        source = context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            flag = f"--{option.replace('_', '-')}"
            raise UserError(f"the suite {name} sets its own protocol; fix: omit {flag}")
    return load_suite(name)


def _judged(
    run: Judge,
    policy: Policy,
    suite: Suite,
    benchmarks: Mapping[str, _Benchmark],
    seed: int,
    folder: RunFolder | None,
) -> dict[str, Judgement]:
    """The judgement on each benchmark; the episodes of each are stored as soon as it is judged."""
    found: dict[str, Judgement] = {}
    total = sum(len(benchmark.cases) for benchmark in benchmarks.values())
    with progress("cases", total) as advance:
        for name, benchmark in benchmarks.items():
            store = None
            if folder is not None:
                part = f"judged/{name}" if suite.name else "trajectories"
                store = TrajectoryStore(folder.path / part)
            held = _held(store, benchmark.cases)
            found[name] = run(
                policy,
                benchmark.cases,
                benchmark.rules,
                sampling=suite.sampling,
                seed=seed,
                on_progress=lambda done: advance(1),
                on_messages=folder.keep_images if folder is not None else None,
                trajectories=held,
            )
            if held is not None:
                advance(len(held))
            elif store is not None:
                store.write(found[name].trajectories, number=0)
    return found


def _held(store: TrajectoryStore | None, cases: CaseList) -> list[Trajectory] | None:
    """The episodes of these cases that an interrupted evaluation has stored, if it has.

    Raises:
        UserError: a case has changed since.
    """
    held = list(store) if store is not None else []
    held_episodes(held, cases)
    is_whole = bool(held) and [each.case_id for each in held] == [case.id for case in cases]
    return held if is_whole else None


def _asked(suite: Suite, seed: int) -> dict[str, Any]:
    """What was asked, as `results.json` holds it."""
    sampling = suite.sampling
    return {
        "command": "eval",
        "seed": seed,
        "tools": list(suite.tools),
        "rubric": suite.rubric,
        "max_turns": suite.max_turns,
        "judge": suite.judge,
        "sampling": {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        },
    }


def _recipe(
    suite: Suite,
    policy: Policy,
    benchmarks: Mapping[str, _Benchmark],
    seed: int,
    view_size: int | None,
) -> dict[str, Any]:
    """What was asked, as the run's `recipe.toml` holds it."""
    asked = _asked(suite, seed)
    sampling: dict[str, Any] = asked.pop("sampling")
    if suite.name:
        where: dict[str, Any] = {"suite": suite.name, "cases": dict(suite.benchmarks)}
    else:
        view_size = benchmarks[""].rules.view_size
        where = {"cases": suite.benchmarks[""]}
    where["view_size"] = view_size  # None, which is left out, where a suite's cases say it
    return asked | sampling | where | {"policy": policy.spec} | policy.describe()


def _results(
    suite: Suite,
    benchmarks: Mapping[str, _Benchmark],
    found: Mapping[str, Judgement],
    seed: int,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The content of `results.json`."""
    way = "sampled" if suite.sampling.temperature else "greedy"
    asked = _asked(suite, seed)
    parts: dict[str, dict[str, Any]] = {
        name: {
            "cases": suite.benchmarks[name],
            "view_size": benchmarks[name].rules.view_size,
            "policies": {judgement.policy: {way: judgement.as_dict()}},
        }
        for name, judgement in found.items()
    }
    if suite.name:
        asked |= {"suite": suite.name, "unit": suite.unit}
        return results(asked, parts, seconds, of="benchmarks")
    (part,) = parts.values()
    policies = part.pop("policies")
    return results(asked | part, policies, seconds)


def _print(suite: Suite, found: Mapping[str, Judgement]) -> None:
    if suite.name:
        print_columns((f"suite {suite.name}", *BENCHMARK), benchmark_rows(found))
        if withheld := withheld_rows(found):
            print_columns(("left out", "why", "share"), withheld)
        if suite.unit == "group":
            print("The suite's unit is the group; these intervals take cases as independent.")
        return
    judgement = found[""]
    print_table(rows(judgement, suite.rubric))
    if judgement.roles:
        print()
        print_columns(("role", *ROLE), role_rows(judgement))
