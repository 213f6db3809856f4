"""The command `medgym eval`: judge a policy on cases or on a suite, with intervals.

With `--out` the run's folder keeps the trajectories and every image that was shown as they come,
then `results.json` (see `medgym.storage.results`) and `outcomes.parquet`, a row for each episode.
The same command again resumes an interrupted evaluation.
"""

import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.case_notes import note_lines, notes_of
from medgym.case_spec import unreadable
from medgym.cases import CaseList
from medgym.commands.printing import percent, print_columns, print_json, print_table, safe_line
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
    ToolNames,
    ViewSize,
    Workers,
    cases_and_rules,
    tool_names,
)
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.interrupt import resumed_by
from medgym.judge import Judge, Judgement, load_judge
from medgym.policy import Policy, Sampling
from medgym.progress import progress
from medgym.registry import names
from medgym.rollout.request import named, ready
from medgym.storage.results import RESULTS, results
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite, load_suite
from medgym.trajectory import Trajectory

from ..evaluation import FAIL_ABOVE, Evaluation
from ..outcomes.figures import further
from ..outcomes.outcome import CaseOutcome, outcome_of
from ..outcomes.table import write_outcomes
from ..prompts import prompted, read_prompt, refuse_team
from ..spending import Price, Spending, require_price
from ..suites.opening import opened
from ..suites.published import OTHER_PROTOCOLS, published_sources, published_table
from ..tables import (
    BENCHMARK,
    OPEN,
    ROLE,
    benchmark_rows,
    hint,
    open_rows,
    role_rows,
    rows,
    withheld_rows,
)
from .eval_options import GreedyTemperature, Prices, Prompt, temperature_of

PROTOCOL = (
    "tools",
    "no_tools",
    "rubric",
    "max_turns",
    "temperature",
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
    temperature: GreedyTemperature = None,
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
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="A,B", help="Of a suite only these benchmarks."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="At most this many cases of each set."),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, help="Episodes of each case; gives pass@k too.")
    ] = 1,
    fail_above: Annotated[
        float,
        typer.Option(
            "--fail-above",
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Stop once a greater share of episodes has failed for good.",
        ),
    ] = FAIL_ABOVE,
    backend: BackendOption = BackendName.LOCAL,
    workers: Workers = 2,
    ray_address: RayAddress = None,
    concurrency: Concurrency = 64,
    allow_host: AllowedHosts = None,
    prompt: Prompt = None,
    prices: Prices = None,
    as_json: AsJson = False,
) -> None:
    """Judge a policy: accuracy with its 95 % interval, the mean reward, and whether it looked.

    Example: medgym eval phantom,question=kind:test[:200] --policy scripted:prior
    """
    if ":" not in cases and not cases.endswith(".jsonl"):
        suite = _suite(context, cases)
        suite = suite if only is None else suite.only(only)
    else:
        if only is not None:
            raise UserError(
                f"{cases} is no suite, and --only names benchmarks of one; fix: omit it"
            )
        suite = Suite(
            name="",
            benchmarks={"": cases},
            tools=tool_names(tools, no_tools),
            rubric=rubric,
            max_turns=max_turns,
            sampling=Sampling(
                temperature=temperature_of(temperature, repeats), max_tokens=max_tokens
            ),
            judge=judge,
        )
    words = "" if prompt is None else read_prompt(prompt)
    benchmarks = opened(
        suite,
        lambda spec: _Benchmark(
            *cases_and_rules(
                spec, tools=suite.tools, rubric=suite.rubric, max_turns=suite.max_turns,
                view_size=view_size,
            )
        ).limited(limit).told(words),
    )  # fmt: skip
    for benchmark in benchmarks.values():
        if not benchmark.cases.all_gold:
            for _ in benchmark.cases:  # one that cannot be scored is named before any is played
                pass
    asked = _asked(suite, seed) | {
        name: value
        for name, value in (("limit", limit), ("repeats", repeats), ("prompt", words))
        if value not in (None, 1, "")
    }
    run = load_judge(suite.judge)
    with closing(ready(named(policy, backend.value))) as player:
        if words:
            refuse_team(player)
        paid = {} if prices is None else require_price(player, prices)
        folder = None
        if out is not None:
            folder = RunFolder.create_or_resume(
                out, _recipe(suite, asked, player, benchmarks, view_size), seeds={"run": seed}
            )
            resumed_by("run the same command again")
        start = time.monotonic()
        evaluation = Evaluation(
            player, suite, seed, repeats, fail_above,
            {
                "backend": backend.value, "workers": workers, "ray_address": ray_address,
                "concurrency": concurrency,
            },
        )  # fmt: skip
        found, outcomes = _judged(run, evaluation, benchmarks, folder, paid)
        seconds = {"judge": round(time.monotonic() - start, 1)}
    spent = {name: Spending.of(each.trajectories, paid) for name, each in found.items()}
    content = _results(suite, asked, benchmarks, found, spent, seconds)
    if folder is not None:
        write_outcomes(folder.path, outcomes)
        folder.write_json(RESULTS, content)
        said = [(suite.benchmarks[name], each.cases) for name, each in benchmarks.items()]
        if notes := notes_of(said):
            folder.note(**notes)
        folder.finish()
        content["out"] = str(folder.path)
    if as_json:
        print_json(content)
    else:
        _print(suite, found, spent)
        for part in content.get("benchmarks", {"": content}).values():
            for line in note_lines(part):
                print(safe_line(line, None))


@dataclass(frozen=True)
class _Benchmark:
    cases: CaseList
    rules: Rules

    def limited(self, limit: int | None) -> "_Benchmark":
        """The first cases of it."""
        return self if limit is None else replace(self, cases=self.cases[:limit])

    def told(self, prompt: str) -> "_Benchmark":
        """The same with a prompt before the instructions."""
        return replace(self, rules=prompted(self.rules, prompt)) if prompt else self


def _suite(context: typer.Context, name: str) -> Suite:
    """The suite, where the command does not set anything that the suite sets."""
    known = names("suites")
    if name not in known and (os.path.exists(name) or os.path.splitext(name)[1]):
        raise unreadable(name)
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
    evaluation: Evaluation,
    benchmarks: Mapping[str, _Benchmark],
    folder: RunFolder | None,
    prices: Mapping[str, Price],
) -> tuple[dict[str, Judgement], list[CaseOutcome]]:
    """The judgement on each benchmark, and what became of each case."""
    found: dict[str, Judgement] = {}
    outcomes: list[CaseOutcome] = []
    suite = evaluation.suite
    total = sum(len(each.cases) for each in benchmarks.values()) * evaluation.repeats
    right: list[bool] = []
    spent = Spending(prices)
    with progress("episodes", total) as advance:

        def done(trajectory: Trajectory) -> None:
            if trajectory.failure is None:
                right.append(trajectory.correct)
            spent.add(trajectory)
            accuracy = percent(sum(right) / len(right)) if right else None
            advance(1, accuracy=accuracy, **spent.figures())

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
            became = [
                outcome_of(case, trajectory, name)
                for case, trajectory in zip(played.cases, played.trajectories, strict=True)
            ]
            outcomes += became
            found[name] = replace(judged, metrics={**judged.metrics, **further(became)})
    return found, outcomes


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
    asked: Mapping[str, Any],
    policy: Policy,
    benchmarks: Mapping[str, _Benchmark],
    view_size: int | None,
) -> dict[str, Any]:
    """What was asked, as the run's `recipe.toml` holds it."""
    asked = dict(asked)
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
    asked: Mapping[str, Any],
    benchmarks: Mapping[str, _Benchmark],
    found: Mapping[str, Judgement],
    spent: Mapping[str, Spending],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The content of `results.json`."""
    way = "sampled" if suite.sampling.temperature else "greedy"
    asked = dict(asked)
    parts: dict[str, dict[str, Any]] = {
        name: {
            "cases": suite.benchmarks[name],
            "view_size": benchmarks[name].rules.view_size,
            "policies": {judgement.policy: {way: judgement.as_dict() | spent[name].as_dict()}},
            **notes_of([(suite.benchmarks[name], benchmarks[name].cases)]),
        }
        for name, judgement in found.items()
    }
    if suite.name:
        asked |= {"suite": suite.name}
        if suite.published:
            asked["published"] = [vars(figure) for figure in suite.published]
        return results(asked, parts, seconds, of="benchmarks")
    (part,) = parts.values()
    policies = part.pop("policies")
    return results(asked | part, policies, seconds)


def _print(suite: Suite, found: Mapping[str, Judgement], spent: Mapping[str, Spending]) -> None:
    if suite.name:
        print_columns((f"suite {suite.name}", *BENCHMARK), benchmark_rows(found))
        if took := [(name, *row) for name, each in spent.items() for row in each.rows()]:
            print_columns(("took", "what", "in all"), took)
        if open_answers := open_rows(found):
            print_columns(("open answers", *OPEN), open_answers)
        if withheld := withheld_rows(found):
            print_columns(("left out", "why", "share"), withheld)
        if suite.published:
            print(f"\n{OTHER_PROTOCOLS}")
            print_columns(*published_table(suite.published))
            for line in published_sources(suite.published):
                print(line)
        return
    judgement = found[""]
    print_table([*rows(judgement, suite.rubric), *spent[""].rows()])
    if judgement.roles:
        print()
        print_columns(("role", *ROLE), role_rows(judgement))
    if said := hint(judgement):
        print(said)
