"""The command `medgym eval`: judge a policy on cases or on a suite, with intervals.

With `--out` the run's folder keeps the trajectories and every image that was shown as they come,
then `results.json` (see `medgym.storage.results`) and `outcomes.parquet`, a row for each episode.
The same command again resumes an interrupted evaluation.
"""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_json
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
    ViewMultiple,
    ViewSize,
    Workers,
    tool_names,
)
from medgym.errors import UserError
from medgym.interrupt import resumed_by
from medgym.judge import load_judge
from medgym.policy import Sampling
from medgym.rollout.request import named, ready
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite

from ..baselines.beside import add_baselines
from ..breakdown.subgroups import kinds_named
from ..evaluating.benchmark import open_benchmarks
from ..evaluating.judging import judge_benchmarks, why_not_judged
from ..evaluating.named_suite import is_suite, named_suite
from ..evaluating.printed import print_judged
from ..evaluating.records import NOT_JUDGED, asked_of, content_of, recipe_of, write_results
from ..evaluation import FAIL_ABOVE, Evaluation
from ..interchange.logs import require_log_form, write_logs
from ..looking.arms import arms_in, in_arms, refuse_roles
from ..looking.gaps import gaps, print_gaps
from ..model_judge.beside import judge_beside
from ..model_judge.options import JudgeAll, JudgedBy
from ..outcomes.packed import PackedRows
from ..prompts import read_prompt, refuse_team
from ..replay.policy import cached, opened_cache
from ..spending import require_price
from .eval_options import (
    By,
    CacheFolder,
    FailAbove,
    GreedyTemperature,
    Prices,
    Prompt,
    ToolsOrArms,
    temperature_of,
)
from .log_option import LogFormat, print_logs


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
    tools: ToolsOrArms = None,
    no_tools: NoTools = False,
    rubric: RubricName = "outcome",
    max_turns: MaxTurns = 6,
    view_size: ViewSize = None,
    view_multiple: ViewMultiple = 1,
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
    fail_above: FailAbove = FAIL_ABOVE,
    backend: BackendOption = BackendName.LOCAL,
    workers: Workers = 2,
    ray_address: RayAddress = None,
    concurrency: Concurrency = 64,
    allow_host: AllowedHosts = None,
    prompt: Prompt = None,
    prices: Prices = None,
    judged_by: JudgedBy = None,
    judge_all: JudgeAll = False,
    cache: CacheFolder = None,
    by: By = None,
    log_format: LogFormat = None,
    as_json: AsJson = False,
) -> None:
    """Judge a policy: accuracy with its 95 % interval, the mean reward, and whether it looked.

    Example: medgym eval phantom,question=kind:test[:200] --policy scripted:prior
    """
    arms = arms_in(tools, no_tools)
    if is_suite(cases):
        suite = named_suite(context, cases, allowed=["tools"] if arms else [])
        suite = suite if only is None else suite.only(only)
    else:
        if only is not None:
            raise UserError(
                f"{cases} is no suite, and --only names benchmarks of one; fix: omit it"
            )
        suite = Suite(
            name="",
            benchmarks={"": cases},
            tools=tool_names(None if arms else tools, no_tools),
            rubric=rubric,
            max_turns=max_turns,
            sampling=Sampling(
                temperature=temperature_of(temperature, repeats), max_tokens=max_tokens
            ),
            judge=judge,
        )
    kinds = () if by is None else kinds_named(by)
    if log_format is not None:
        require_log_form(log_format, out)
    words = "" if prompt is None else read_prompt(prompt)
    benchmarks = open_benchmarks(
        suite, view_size=view_size, view_multiple=view_multiple, limit=limit, prompt=words
    )
    plain = tuple(benchmarks)
    if arms:
        suite, benchmarks = in_arms(suite, benchmarks, arms)
    asked = asked_of(
        suite, seed, limit=limit, repeats=repeats, prompt=words, view_multiple=view_multiple,
        arms=list(arms) or None,
    )  # fmt: skip
    run = load_judge(suite.judge)
    offered = [tool for each in benchmarks.values() for tool in each.rules.tools]
    with (
        judge_beside(judged_by, every=judge_all) as beside,
        opened_cache(cache, offered) as replies,
        closing(ready(cached(named(policy, backend.value), replies))) as player,
    ):
        beside.require()
        if words:
            refuse_team(player)
        if arms:
            refuse_roles(player)
        judging = () if beside.policy is None else (beside.policy,)
        paid = {} if prices is None else require_price(prices, player, *judging)
        beside.prices = paid
        folder = None
        if out is not None:
            recipe = recipe_of(suite, asked, player, benchmarks, view_size)
            folder = RunFolder.create_or_resume(out, recipe, seeds={"run": seed})
            resumed_by("run the same command again")
            if paid:
                folder.note(prices={model: price.as_dict() for model, price in paid.items()})
        start = time.monotonic()
        evaluation = Evaluation(
            player, suite, seed, repeats, fail_above,
            {
                "backend": backend.value, "workers": workers, "ray_address": ray_address,
                "concurrency": concurrency,
            },
        )  # fmt: skip
        lost: dict[str, str] = {}
        found = judge_benchmarks(run, evaluation, benchmarks, folder, paid, beside.add, lost)
        every, benchmarks = len(benchmarks), {name: benchmarks[name] for name in found}
        seconds = {"judge": round(time.monotonic() - start, 1)}
        if paid:
            asked["prices"] = {model: price.as_dict() for model, price in paid.items()}
        if replies is not None:
            asked["cache"] = replies.counts().as_dict()
        if lost:
            asked[NOT_JUDGED] = lost
        content = content_of(suite, asked, benchmarks, found, seconds)
        add_baselines(content, benchmarks)
        shown = gaps({name: each.outcomes for name, each in found.items()}, plain) if arms else []
        if shown:
            content["looking"] = [gap.as_dict() for gap in shown]
        failure = beside.complete(content, folder)
    logged = None
    if folder is not None:
        write_results(folder, suite, benchmarks, found, content)
        content["out"] = str(folder.path)
        logged = None if log_format is None else write_logs(folder, log_format)
    if as_json:
        print_json(content | ({} if logged is None else logged.as_dict()))
    else:
        print_judged(suite, found, content, kinds)
        print_gaps(shown)
        beside.print(content)
        print_logs(logged)
    if folder is not None:
        from ..reports.page import write_run_page  # no evaluation waits for it before it begins

        became = PackedRows.joined(each.outcomes for each in found.values())
        write_run_page(folder.path, became, quiet=as_json)
    if failure is not None:
        raise failure
    if lost:
        raise why_not_judged(lost, every)
