"""What commands are asked with: options that read the same everywhere, and what they come to."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from medgym.cases import Case, CaseList, open_cases
from medgym.episode import DEFAULT_TOOLS, Rules
from medgym.errors import UserError
from medgym.policy import Policy

CasesSpec = Annotated[
    str,
    typer.Argument(
        metavar="CASES",
        help="SOURCE[,key=value]:SPLIT, with a slice behind it if wanted, or a .jsonl file.",
    ),
]
PolicySpec = Annotated[
    str,
    typer.Option(
        "--policy", metavar="SPEC", help="Who plays, as scripted:oracle or hf:PATH@ADAPTER."
    ),
]
ToolNames = Annotated[
    str | None,
    typer.Option("--tools", metavar="A,B", help="Tools, joined by commas; zoom by default."),
]
NoTools = Annotated[bool, typer.Option("--no-tools", help="Take all tools away.")]
RubricName = Annotated[str, typer.Option("--rubric", metavar="NAME", help="What is rewarded.")]
MaxTurns = Annotated[int, typer.Option("--max-turns", min=1, help="Replies in an episode.")]
ViewSize = Annotated[
    int | None,
    typer.Option("--view-size", min=1, help="Greatest side of a view; by default the cases' own."),
]
Temperature = Annotated[
    float, typer.Option("--temperature", min=0.0, help="Of the sampling; 0 is greedy.")
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Tokens of one reply.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed plays the same episodes again.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


def tool_names(tools: str | None, no_tools: bool) -> tuple[str, ...]:
    """The tools that `--tools` and `--no-tools` ask for."""
    if no_tools and tools is not None:
        raise UserError("--tools and --no-tools exclude each other; fix: leave one away")
    if no_tools:
        return ()
    if tools is None:
        return DEFAULT_TOOLS
    names = tuple(name.strip() for name in tools.split(","))
    if "" in names:
        raise UserError(f"--tools {tools!r} names no tool; fix: write zoom,crop, or --no-tools")
    return names


def cases_and_rules(
    spec: str | Sequence[Case],
    *,
    tools: Sequence[str],
    rubric: str = "outcome",
    max_turns: int = 6,
    view_size: int | None = None,
) -> tuple[CaseList, Rules]:
    """The cases that a spec names, and the rules of play for them."""
    cases = open_cases(spec)
    rules = Rules.for_cases(
        cases, tools=tools, rubric=rubric, max_turns=max_turns, view_size=view_size
    )
    return cases, rules


def ready(policy: Policy) -> Policy:
    """The policy, once it has said that it can play: asked before anything is written.

    Raises:
        UserError: it cannot; it is closed then.
    """
    try:
        asyncio.run(policy.check())
    except BaseException:
        policy.close()
        raise
    return policy


def refuse_gold_player(policy: Policy, spec: str) -> None:
    """`UserError` where a policy plays with gold and there is none."""
    if policy.needs_gold:
        raise UserError(
            f"{spec} plays with the gold answer, and one's own image has none; fix: choose "
            "scripted:random, human or a model"
        )
