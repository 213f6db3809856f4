"""The command `medgym tune`: search a prompt for a policy on validation cases."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from medgym.cases import CaseList
from medgym.commands.printing import (
    WIDTH,
    percent,
    print_columns,
    print_json,
    print_table,
    safe_line,
)
from medgym.commands.shared_options import (
    AsJson,
    Concurrency,
    MaxTokens,
    MaxTurns,
    NoTools,
    PolicySpec,
    Seed,
    ToolNames,
    ViewSize,
    tool_names,
)
from medgym.episode import Rules
from medgym.interrupt import resumed_by
from medgym.metrics.rate import Rate
from medgym.policy import Sampling
from medgym.progress import progress
from medgym.redaction import redact_text
from medgym.rollout.request import named, ready
from medgym.storage.run_folder import RunFolder
from medgym.suite import Suite
from medgym.tool_record import specs_of, tool_facts

from ..evaluation import FAIL_ABOVE, Evaluation
from ..prompts import prompted, refuse_team
from ..tables import interval
from ..tuning.apart import UsedCases, require_apart, require_no_test, spec_of_test
from ..tuning.grammar import candidates
from ..tuning.halving import cost, halve, planned
from ..tuning.optimisers import BUILT_IN, NAMES, proposed_by_dspy, require_optimiser
from ..tuning.record import tuned, write_tuned
from ..tuning.trials import Trials

SHOWN = 5
"""Prompts that the table lists."""


def tune(
    cases: Annotated[
        str,
        typer.Argument(
            metavar="CASES", help="Validation cases: SOURCE[,key=value]:SPLIT or FILE.jsonl."
        ),
    ],
    policy: PolicySpec,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="runs/NAME", help="Keep the search here, in a folder new or to resume."
        ),
    ],
    test: Annotated[
        str | None,
        typer.Option(
            "--test",
            metavar="CASES",
            help="The cases of the later comparison, which must share nothing with these; by "
            "default the split test of the same source.",
        ),
    ] = None,
    examples: Annotated[
        str | None,
        typer.Option(
            "--examples", metavar="CASES", help="Training cases for worked examples, as text."
        ),
    ] = None,
    shots: Annotated[
        int, typer.Option("--shots", min=0, help="Most worked examples in a prompt.")
    ] = 3,
    count: Annotated[
        int, typer.Option("--candidates", min=2, help="Prompts to try, no prompt among them.")
    ] = 16,
    budget: Annotated[int, typer.Option("--budget", min=1, help="Most episodes to play.")] = 2000,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Count answers in any form, and not only in medgym's.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="At most this many validation cases.")
    ] = None,
    optimiser: Annotated[
        str,
        typer.Option(
            "--optimiser", metavar="NAME", help=f"Where prompts come from: {', '.join(NAMES)}."
        ),
    ] = BUILT_IN,
    writer: Annotated[
        str | None,
        typer.Option(
            "--writer",
            metavar="SPEC",
            help="The policy that writes instructions for dspy; by default the one that is tuned.",
        ),
    ] = None,
    tools: ToolNames = None,
    no_tools: NoTools = False,
    max_turns: MaxTurns = 6,
    view_size: ViewSize = None,
    max_tokens: MaxTokens = 512,
    seed: Seed = 0,
    concurrency: Concurrency = 64,
    as_json: AsJson = False,
) -> None:
    """Search a system prompt and worked examples for a policy, on validation cases.

    The chosen prompt is for medgym eval --prompt, on test cases.

    Example: medgym tune phantom:validation[:200] --policy openai:URL#MODEL --out runs/tuned
    """
    require_optimiser(optimiser, examples, writer)
    validation = UsedCases.of("validation", cases)
    require_no_test(validation)
    parts = [validation, UsedCases.of("test", test or spec_of_test(cases))]
    if examples is not None:
        parts.append(UsedCases.of("examples", examples))
        require_no_test(parts[2])
    chosen_from = validation.cases.shuffled(seed)[:limit]
    learned = 0 if optimiser == BUILT_IN else budget // 2  # the most that an optimiser plays
    plan = planned(count, len(chosen_from), budget - learned)
    rules = Rules.for_cases(
        validation.cases,
        tools=tool_names(tools, no_tools),
        max_turns=max_turns,
        view_size=view_size,
    )
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
    pool = parts[2].cases if examples is not None else CaseList(())
    found = []
    if optimiser == BUILT_IN:
        found = candidates(
            plan[0].candidates, seed, tools=bool(rules.tools), examples=pool, shots=shots
        )
    for each in found:
        prompted(rules, each.prompt)
    require_apart(parts)
    asked: dict[str, Any] = {
        "command": "tune",
        "cases": cases,
        "test": parts[1].spec,
        "examples": examples,
        "shots": shots if examples is not None else 0,
        "seed": seed,
        "candidates": count,
        "budget": budget,
        "optimiser": optimiser,
        "writer": None if writer is None else redact_text(writer),
        "limit": limit,
        "lenient": lenient,
        "tools": specs_of(rules.tools),
        **tool_facts(rules.tools),
        "max_turns": max_turns,
        "view_size": rules.view_size,
        "max_tokens": max_tokens,
    }
    with closing(ready(named(policy, "local"))) as player:
        refuse_team(player)
        recipe = asked | {"policy": player.spec} | player.describe()
        folder = RunFolder.create_or_resume(out, recipe, seeds={"run": seed})
        resumed_by("run the same command again")
        suite = Suite(name="", benchmarks={"": cases}, tools=(), sampling=sampling)
        evaluation = Evaluation(
            player, suite, seed, 1, FAIL_ABOVE, {"concurrency": concurrency, "backend": "local"}
        )
        trials = Trials(evaluation, chosen_from, rules, folder, lenient)
        taken = 0
        with progress("episodes", cost(plan) if found else budget) as advance:
            trials.advance = advance
            if not found:
                found, taken = proposed_by_dspy(
                    optimiser, trials, pool, folder, writer=writer, budget=learned,
                    count=count, seed=seed, shots=shots,
                )  # fmt: skip
                plan = planned(len(found), len(chosen_from), budget - taken)
            chosen = halve(found, plan, trials)
    said = {key: value for key, value in recipe.items() if value is not None}
    content = tuned(said, found, chosen, trials, taken)
    prompt = write_tuned(folder, content)
    folder.finish()
    if as_json:
        print_json(content | {"out": str(out), "file": str(prompt) if prompt else None})
    else:
        _print(content, prompt)


def _print(content: Mapping[str, Any], prompt: Path | None) -> None:
    rows = [
        ("prompts tried", str(len(content["tried"]))),
        ("episodes", f"{content['episodes']:,} of {content['budget']:,}"),
        ("without a prompt", interval(Rate(**content["without_prompt"]))),
    ]
    if prompt is not None:
        gap = content["gain"]["interval"]
        low, high = (f"{100 * gap[key]:+.1f}" for key in ("low", "high"))
        rows += [
            ("with the chosen one", interval(Rate(**content["accuracy"]))),
            ("gain", f"{100 * gap['value']:+.1f} (95 % interval {low} to {high})"),
        ]
    print_table(rows)
    print()
    ordered = sorted(content["tried"], key=lambda row: (-row["cases"], -row["accuracy"]["value"]))
    print_columns(
        ("prompt", "cases", "accuracy", "begins"),
        [
            (
                str(row["number"]), str(row["cases"]), percent(row["accuracy"]["value"]),
                safe_line(row["prompt"], 40) or "(none)",
            )
            for row in ordered[:SHOWN]
        ],
    )  # fmt: skip
    for note in content["notes"]:
        print(fill(note, WIDTH))
    if prompt is None:
        why = "no prompt is better than none; " if len(content["tried"]) > 1 else ""
        print(f"{why}evaluate without --prompt")
    else:
        print(safe_line(f"the prompt: {prompt} (medgym eval ... --prompt {prompt})", None))
