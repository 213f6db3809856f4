"""The command `medgym robustness`: the same cases, changed, against themselves.

A run is as one of `medgym eval` on a suite: it resumes, its benchmarks are the variants, and
`medgym compare` and `medgym score` read it.
"""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.printing import print_json, safe_line
from medgym.commands.shared_options import (
    AllowedHosts,
    AsJson,
    BackendName,
    BackendOption,
    Concurrency,
    MaxTokens,
    MaxTurns,
    NoTools,
    RayAddress,
    Seed,
    ToolNames,
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

from ..baselines.beside import add_baselines, print_baselines
from ..evaluating.benchmark import open_benchmarks
from ..evaluating.judging import judge_benchmarks, why_not_judged
from ..evaluating.named_suite import is_suite, named_suite
from ..evaluating.records import NOT_JUDGED, asked_of, content_of, recipe_of, write_results
from ..evaluation import FAIL_ABOVE, Evaluation
from ..outcomes.outcome import CaseOutcome
from ..outcomes.packed import PackedRows
from ..outcomes.stored import outcomes_of
from ..robustness.plan import check_reference, judged_sets, suite_of, variant_sets, with_rules
from ..robustness.report import print_report, report
from ..robustness.sheet import write_sheet
from ..robustness.variants import CLEAN, Variant, chosen_variants
from ..tables import interval
from .eval_options import FailAbove


def robustness(
    context: typer.Context,
    cases: Annotated[
        str,
        typer.Argument(
            metavar="CASES|SUITE",
            help="SOURCE[,key=value]:SPLIT or FILE.jsonl (a slice such as [:100] may follow), or a "
            "suite.",
        ),
    ],
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", metavar="SPEC", help="The policy, such as scripted:oracle or hf:PATH."
        ),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants",
            metavar="A,B",
            help="Some of digital, noise, blur, colour, artefacts, or one corruption such as jpeg; "
            "options, paraphrase, blank, exchanged, other-views, text-only. All by default.",
        ),
    ] = None,
    severities: Annotated[
        str, typer.Option("--severities", metavar="1,3,5", help="Of corruptions, from 1 to 5.")
    ] = "1,3,5",
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="At most this many cases of each set."),
    ] = None,
    paraphrases: Annotated[
        Path | None,
        typer.Option(
            "--paraphrases",
            metavar="FILE.jsonl",
            help="Paraphrases of your own, instead of those by rules.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="RUN",
            help="A run of medgym robustness on the same cases; gives BE and rBE.",
        ),
    ] = None,
    show: Annotated[
        Path | None,
        typer.Option(
            "--show", metavar="FILE.png", help="Only draw the corruptions at all severities."
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="A,B", help="Of a suite only these benchmarks."),
    ] = None,
    tools: ToolNames = None,
    no_tools: NoTools = False,
    max_turns: MaxTurns = 6,
    view_size: ViewSize = None,
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
            help="Keep episodes and results in this folder, new or to resume.",
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
    """Change images, questions and options, and say what that does to a policy.

    Example: medgym robustness phantom:test[:40] --policy scripted:oracle --variants noise,options
    """
    if is_suite(cases):
        suite = named_suite(context, cases)
        suite = suite if only is None else suite.only(only)
    elif only is not None:
        raise UserError(f"{cases} is no suite, and --only names benchmarks of one; fix: omit it")
    else:
        suite = Suite(
            name="",
            benchmarks={"": cases},
            tools=tool_names(tools, no_tools),
            max_turns=max_turns,
            sampling=Sampling(temperature=temperature, max_tokens=max_tokens),
        )
    chosen = chosen_variants(variants, severities)
    sets = variant_sets(suite, chosen, limit, paraphrases)
    if show is not None:
        count = write_sheet((case for each in sets for case in each.originals.cases), chosen, show)
        print(safe_line(f"{show}: {count} image{'s' * (count > 1)}"))
        return
    if policy is None:
        raise UserError("no policy is named; fix: add --policy SPEC, or draw with --show FILE.png")
    suite = suite_of(suite, sets, limit, paraphrases)
    benchmarks = with_rules(sets, open_benchmarks(suite, view_size=view_size))
    against: dict[str, list[CaseOutcome]] = {}
    if reference is not None:
        for outcome in outcomes_of(reference):
            against.setdefault(outcome.benchmark, []).append(outcome)
        compared = {
            name: benchmarks[name].cases
            for each in sets for variant in each.variants
            if variant.severity or variant.name == CLEAN
            for name in [each.benchmark(variant)]
        }  # fmt: skip
        check_reference(reference, against, compared)
    asked = asked_of(
        suite, seed, of=cases, variants=variants, severities=severities, limit=limit,
        reference=reference,
    ) | {"command": "robustness"}  # fmt: skip
    with closing(ready(named(policy, backend.value))) as player:
        folder = None
        if out is not None:
            recipe = recipe_of(suite, asked, player, benchmarks, view_size)
            folder = RunFolder.create_or_resume(out, recipe, seeds={"run": seed})
            resumed_by("run the same command again")
        start = time.monotonic()
        evaluation = Evaluation(
            player, suite, seed, 1, fail_above,
            {
                "backend": backend.value, "workers": workers, "ray_address": ray_address,
                "concurrency": concurrency,
            },
        )  # fmt: skip
        lost: dict[str, str] = {}
        run = load_judge(suite.judge)
        found = judge_benchmarks(run, evaluation, benchmarks, folder, not_judged=lost)
        seconds = {"judge": round(time.monotonic() - start, 1)}
    not_judged = why_not_judged(lost, len(benchmarks)) if lost else None
    sets = judged_sets(sets, found)
    if not_judged is not None and not sets:
        raise not_judged
    asked |= {NOT_JUDGED: lost} if lost else {}
    benchmarks = {name: benchmarks[name] for name in found}
    outcomes = {name: each.outcomes for name, each in found.items()}
    opened = {name: each.cases for name, each in benchmarks.items()}
    named_reference = None if reference is None else (reference, against)
    reports = [
        report(each, opened, outcomes, reference=named_reference, seed=seed) for each in sets
    ]
    content = content_of(suite, asked, benchmarks, found, seconds)
    single = not reports[0].of.name
    content["robustness"] = (
        reports[0].as_dict() if single else {each.of.name: each.as_dict() for each in reports}
    )
    first = [each.of.benchmark(Variant(CLEAN)) for each in reports]
    add_baselines(content, {name: benchmarks[name] for name in first})
    if folder is not None:
        write_results(folder, suite, benchmarks, found, content)
        content["out"] = str(folder.path)
    if as_json:
        print_json(content)
    for each in () if as_json else reports:
        judgement = found[each.of.benchmark(Variant(CLEAN))].judgement
        of = f"{each.of.name}, " if each.of.name else ""
        print(f"{of}clean: {interval(judgement.accuracy)} of {judgement.accuracy.n} cases")
        print_report(each)
    if not as_json:
        print_baselines(content)
    if folder is not None:
        from ..reports.page import write_run_page  # no evaluation waits for it before it begins

        became = PackedRows.joined(each.outcomes for each in found.values())
        write_run_page(folder.path, became, quiet=as_json)
    if not_judged is not None:
        raise not_judged
