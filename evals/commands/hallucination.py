"""The command `medgym hallucination`: how severe what a policy says wrongly is, whether it answers
questions about what is not there, and whether its answers contradict what it looked at.

Where `--out` names a folder, it is a run that resumes as one of `medgym eval` does, with a row for
each statement in `hallucination.jsonl`.
"""

import json
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import typer

from medgym.cases import CaseList
from medgym.commands.printing import print_json
from medgym.commands.shared_options import (
    AllowedHosts,
    AsJson,
    Concurrency,
    MaxTokens,
    MaxTurns,
    NoTools,
    Seed,
    ToolNames,
    ViewSize,
    cases_and_rules,
    tool_names,
)
from medgym.errors import RunError, UserError
from medgym.interrupt import resumed_by
from medgym.policy import Policy, Sampling
from medgym.rollout.request import named, ready
from medgym.storage.atomic import write_atomic
from medgym.storage.results import RESULTS, read_results, results
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite
from medgym.tool_record import specs_of, tool_facts

from ..baselines.baseline import baselines
from ..baselines.beside import KEY, print_baselines
from ..evaluation import FAIL_ABOVE, Evaluation
from ..hallucination.measured import hallucination_figures, judged_labels, level_rows
from ..hallucination.printed import head_of, print_hallucination
from ..hallucination.run import COMMAND, Measured, played, stored
from ..model_judge.asking import ModelJudge, open_judge
from ..model_judge.prompt import MEDIHALL, judge_prompt
from ..model_judge.replies import JudgeReplies
from ..outcomes.figures import accuracy
from ..outcomes.stored import run_and_policy
from ..outcomes.table import write_outcomes

STATEMENTS = "hallucination.jsonl"
"""The file's name in the folder of a run."""


def hallucination(
    cases: Annotated[
        str,
        typer.Argument(
            metavar="CASES|RUN",
            help="With --policy cases, as medgym eval takes them; else the folder of a run, which "
            "is not played again.",
        ),
    ],
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="SPEC", help="The policy that plays CASES.")
    ] = None,
    judged_by: Annotated[
        str | None,
        typer.Option(
            "--judged-by",
            metavar="SPEC",
            help="A policy that labels what rules cannot: wrong answers about cases that are no "
            "phantoms.",
        ),
    ] = None,
    tools: ToolNames = None,
    no_tools: NoTools = False,
    max_turns: MaxTurns = 6,
    view_size: ViewSize = None,
    max_tokens: MaxTokens = 512,
    seed: Seed = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="At most this many cases.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="runs/NAME",
            help="Keep episodes and results in this folder, new or to resume.",
        ),
    ] = None,
    concurrency: Concurrency = 64,
    allow_host: AllowedHosts = None,
    as_json: AsJson = False,
) -> None:
    """Say how much a policy hallucinates: MediHall, what is not there, contradictions.

    Example: medgym hallucination phantom:test[:200] --policy scripted:prior
    """
    start = time.monotonic()
    with ExitStack() as stack:
        folder: RunFolder | None
        asked: dict[str, Any] | None = None
        never_looking: dict[str, Any] = {}
        labels_by = None if judged_by is None else stack.enter_context(open_judge(judged_by))
        if policy is None:
            folder, name = _run(cases, out)
            found, spec = stored(folder, name), name or str(folder.asked.get("policy", ""))
            if (folder.path / RESULTS).exists():
                kept = read_results(folder.path)
                never_looking = {KEY: kept[KEY]} if KEY in kept else {}
        else:
            if labels_by is not None:
                ready(labels_by)
            opened, rules = cases_and_rules(
                cases, tools=tool_names(tools, no_tools), max_turns=max_turns, view_size=view_size
            )
            opened = opened[:limit]
            _require_gold(opened)
            player = stack.enter_context(closing(ready(named(policy, "local"))))
            suite = Suite(
                name="", benchmarks={"": cases}, tools=tuple(specs_of(rules.tools)),
                rubric=rules.rubric.name, max_turns=max_turns,
                sampling=Sampling(0.0, max_tokens=max_tokens), judge="vqa",
            )  # fmt: skip
            asked = {
                "command": COMMAND, "cases": cases, "tools": list(suite.tools),
                **tool_facts(rules.tools), "max_turns": max_turns,
                "view_size": rules.view_size, "seed": seed,
                **({} if limit is None else {"limit": limit}),
            }  # fmt: skip
            folder = _folder(out, asked, player, max_tokens, seed)
            evaluation = Evaluation(
                player, suite, seed, 1, FAIL_ABOVE,
                {"backend": "local", "concurrency": concurrency},
            )  # fmt: skip
            found, spec = played(evaluation, opened, rules, folder), player.spec
            never_looking = {KEY: [each.as_dict() for each in baselines(opened)]}
        rate = accuracy(found.outcomes, lenient=False)
        if not rate.n:
            why = next((each.failure for each in found.outcomes if each.failure), "no episode")
            raise RunError(
                f"no case has a reply ({why}), so that there is nothing to measure; fix: ask "
                "another model or server"
            )
        figures, rows = _figures(found, labels_by, folder)
    content: dict[str, Any] = {"policy": spec, "accuracy": rate.as_dict(), COMMAND: figures}
    if folder is not None:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(folder.path / STATEMENTS, lines.encode("utf-8", "replace"))
    if folder is not None and asked is not None:
        write_outcomes(folder.path, found.outcomes)
        seconds = {"judge": round(time.monotonic() - start, 1)}
        folder.write_json(
            RESULTS, results(asked, {spec: {"greedy": content}}, seconds) | never_looking
        )
        folder.finish()
    if as_json:
        print_json(content | never_looking)
        return
    print_hallucination(head_of(spec, rate, len(found.outcomes)), figures)
    if never_looking:
        print()
        print_baselines(never_looking | {"policies": {spec: {"greedy": content}}})


def _run(named_run: str, out: Path | None) -> tuple[RunFolder, str]:
    """The stored run that is meant where no policy is named."""
    if out is not None:
        raise UserError(
            "of a stored run nothing is played; fix: omit --out, or name cases and --policy"
        )
    try:
        return run_and_policy(named_run)
    except UserError as error:
        if Path(named_run.rpartition(":")[0] or named_run).is_dir():
            raise
        raise UserError(
            f"{named_run} is no folder of a run, and no policy plays it; fix: name a run, or add "
            "--policy SPEC"
        ) from error


def _require_gold(cases: CaseList) -> None:
    """Name a case that cannot be scored before any is played."""
    if not cases.all_gold:
        for _ in cases:
            pass


def _folder(
    out: Path | None, asked: dict[str, Any], player: Policy, max_tokens: int, seed: int
) -> RunFolder | None:
    if out is None:
        return None
    recipe = asked | {"max_tokens": max_tokens, "policy": player.spec} | player.describe()
    folder = RunFolder.create_or_resume(out, recipe, seeds={"run": seed})
    resumed_by("run the same command again")
    return folder


def _figures(
    found: Measured, labels_by: Policy | None, folder: RunFolder | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    judge = said = None
    if labels_by is not None:
        replies = JudgeReplies(None if folder is None else folder.path)
        judge = ModelJudge(labels_by, judge_prompt(MEDIHALL), replies)
        said = judged_labels(found.answers, judge)
    figures = hallucination_figures(found.answers, found.not_there, judge, said)
    if found.not_made:
        figures["not made"] = [
            {"why": why, "images": count} for why, count in found.not_made.items()
        ]
    return figures, level_rows(found.answers, found.not_there, judge, said)
