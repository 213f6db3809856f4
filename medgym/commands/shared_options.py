"""Options that all commands share, and what they stand for."""

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from medgym.cases import Case, CaseList, open_cases
from medgym.episode import DEFAULT_TOOLS, Rules
from medgym.errors import UserError
from medgym.permissions import allow_hosts
from medgym.policy import Policy
from medgym.tool_spec import split_tools

CasesSpec = Annotated[
    str,
    typer.Argument(
        metavar="CASES",
        help="SOURCE[,key=value]:SPLIT or FILE.jsonl; a slice such as [:100] may follow.",
    ),
]
PolicySpec = Annotated[
    str,
    typer.Option(
        "--policy", metavar="SPEC", help="The policy, such as scripted:oracle or hf:PATH."
    ),
]
ToolNames = Annotated[
    str | None,
    typer.Option(
        "--tools",
        metavar="A,B?key=value",
        help="Tools, joined by commas, each with its options; zoom by default.",
    ),
]
NoTools = Annotated[bool, typer.Option("--no-tools", help="Offer no tools.")]
RubricName = Annotated[
    str, typer.Option("--rubric", metavar="NAME", help="The rubric that gives the reward.")
]
MaxTurns = Annotated[int, typer.Option("--max-turns", min=1, help="Most replies in an episode.")]
ViewSize = Annotated[
    int | None,
    typer.Option(
        "--view-size",
        min=1,
        help="Greatest side of a view in pixels; by default as the cases say.",
    ),
]
ViewMultiple = Annotated[
    int,
    typer.Option(
        "--view-multiple",
        min=1,
        help="Sides of views are multiples of this, as the model's image processor makes them.",
    ),
]
Temperature = Annotated[
    float, typer.Option("--temperature", min=0.0, help="Sampling temperature; 0 is greedy.")
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Most tokens in a reply.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same episodes.")]


def _allow_hosts(hosts: list[str] | None) -> list[str]:
    allow_hosts(hosts or ())
    return hosts or []


AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="HOST",
        callback=_allow_hosts,
        help="A host that a recipe may name, and that then gets your key and your images; may be "
        "repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]


class BackendName(StrEnum):
    """Where episodes are rolled out."""

    LOCAL = "local"
    RAY = "ray"


BackendOption = Annotated[
    BackendName, typer.Option("--backend", help="This process, or workers on Ray.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes on Ray.")]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", metavar="auto|HOST:PORT", help="Join a running Ray cluster."),
]
Concurrency = Annotated[
    int, typer.Option("--concurrency", min=1, help="Episodes in flight at once.")
]


def share(least: float = 0.0, most: float = 1.0) -> Callable[[str | float], float]:
    """What reads a share on the command line: `5%` and `0.05` are the same, in `least` to `most`.

    `5` is refused, never taken as 5 % nor as 500 %. Options give it to `typer.Option` as `parser`.
    """

    def read(text: str | float) -> float:
        written = str(text).strip()
        number = written.removesuffix("%")
        try:
            value = float(number) / (1 if number == written else 100)
        except ValueError:
            value = math.nan
        if least <= value <= most:
            return value
        is_percent = number == written and 100 * least <= value <= 100 * most
        meant = value if is_percent else 5
        raise typer.BadParameter(
            f"{written!r} is no share from {least:g} to {most:g}; "
            f"write one such as {meant:g}% or {meant / 100:g}"
        )

    return read


def tool_names(tools: str | None, no_tools: bool) -> tuple[str, ...]:
    """The tools that `--tools` and `--no-tools` ask for."""
    if no_tools and tools is not None:
        raise UserError("--tools and --no-tools exclude each other; fix: omit one of them")
    if no_tools:
        return ()
    if tools is None:
        return DEFAULT_TOOLS
    return split_tools(tools)


def cases_and_rules(
    spec: str | Sequence[Case],
    *,
    tools: Sequence[str],
    rubric: str = "outcome",
    max_turns: int = 6,
    view_size: int | None = None,
    view_multiple: int = 1,
) -> tuple[CaseList, Rules]:
    """The cases that a spec names, and the rules of play for them."""
    cases = open_cases(spec)
    rules = Rules.for_cases(
        cases,
        tools=tools,
        rubric=rubric,
        max_turns=max_turns,
        view_size=view_size,
        view_multiple=view_multiple,
    )
    return cases, rules


def refuse_gold_player(policy: Policy, spec: str) -> None:
    """`UserError` where a policy plays with gold and there is none."""
    if policy.needs_gold:
        raise UserError(
            f"{spec} plays with the gold answer, and your own image has none; fix: choose "
            "scripted:random, human or a model"
        )
