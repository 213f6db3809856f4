"""`medgym train audit`: what cheats earn by a rubric."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from medgym.cases import Case, CaseList, open_cases
from medgym.commands.printing import percent, print_json
from medgym.commands.shared_options import AsJson, ToolNames, share, tool_names
from medgym.episode import DEFAULT_MAX_TURNS, DEFAULT_TOOLS, Rules
from medgym.errors import RunError
from medgym.permissions import by_recipe
from medgym.rubric import Rubric, load_rubric

from ..rubric_audit.audit import FLOOR, Earning, audited, verdict

CASES = "phantom,look=radiograph,question=kind:test[:48]"
"""What is played where nothing else is asked for: questions that only looking answers."""

MOST = 48
"""Cases that are played of a recipe's, taken evenly from all of them."""


def audit(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe, for its rubric, cases, tools and turns.")
    ] = None,
    rubric: Annotated[
        str | None, typer.Option("--rubric", metavar="NAME", help="What is audited.")
    ] = None,
    cases: Annotated[
        str | None,
        typer.Option("--cases", metavar="CASES", help=f"What is played; by default {CASES}."),
    ] = None,
    tools: ToolNames = None,
    max_turns: Annotated[
        int | None, typer.Option("--max-turns", min=1, help="Replies in an episode, by default 6.")
    ] = None,
    floor: Annotated[
        float,
        typer.Option(
            "--floor",
            parser=share(),
            metavar="SHARE",
            help="How far a cheat may get: 0 is what a guess earns, 1 or 100% the oracle.",
        ),
    ] = FLOOR,
    as_json: AsJson = False,
) -> None:
    """Play canned cheats through a rubric, and fail where one beats the floor.

    Example: medgym train audit --rubric ophiuchus --floor 0.2
    """
    judged, played, rules = _asked(recipe, rubric, cases, tools, max_turns)
    earnings = audited(played, rules, floor)
    if as_json:
        print_json([asdict(earning) for earning in earnings])
    else:
        _print(judged, earnings, floor, len(played))
    wrong = verdict(judged, earnings, floor)
    if wrong is not None:
        raise RunError(wrong)


def _asked(
    recipe: str | None,
    rubric: str | None,
    spec: str | None,
    tools: str | None,
    max_turns: int | None,
) -> tuple[Rubric, Sequence[Case], Rules]:
    """The rubric, the cases and the rules of play; what is asked for goes before a recipe's."""
    judged = load_rubric(rubric) if rubric is not None else None
    names: Sequence[str] = DEFAULT_TOOLS
    turns, view_size, multiple, most = DEFAULT_MAX_TURNS, None, 1, None
    own: CaseList | str | None = None
    if recipe is not None:
        from ..recipe.rubric import rubric_of
        from ..recipe.schema import load_recipe

        loaded, _ = load_recipe(recipe)
        judged = judged or rubric_of(loaded.rubric)
        names, turns = loaded.tools.names, loaded.rollout.max_turns
        view_size, multiple = loaded.rollout.view_size, loaded.rollout.view_multiple
        if spec is None:
            from ..data.mixture import training_cases

            parts = loaded.cases.parts
            own, most = training_cases(loaded.cases).listed if parts else loaded.cases.test, MOST
    judged = judged or load_rubric("outcome")
    found = open_cases(spec or own or CASES)
    with by_recipe(recipe is not None and tools is None):
        rules = Rules.for_cases(
            found,
            tools=names if tools is None else tool_names(tools, False),
            rubric=judged,
            max_turns=max_turns or turns,
            view_size=view_size,
            view_multiple=multiple,
        )
    step = 1 if most is None else max(1, len(found) // most)
    return judged, list(found[::step][:most]), rules


def _print(rubric: Rubric, earnings: Sequence[Earning], floor: float, count: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)  # a file has no edge to wrap at
    moments = dict.fromkeys(earning.progress for earning in earnings)
    for moment in moments:
        when = f", {percent(moment)} of training done" if len(moments) > 1 else ""
        title = f"{rubric.name}, {count} cases, floor {percent(floor)}{when}"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        headings = ("policy", "reward", "share", "right", *(term.name for term in rubric.terms))
        for heading in headings:
            table.add_column(heading, justify="left" if heading == "policy" else "right")
        for earning in earnings:
            if earning.progress == moment:
                table.add_row(*_cells(earning, rubric), style="red" if earning.caught else None)
        with console.capture() as drawn:
            console.print(table)
        print("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _cells(earning: Earning, rubric: Rubric) -> list[str]:
    mark = " !" if earning.caught else ""
    means = [f"{earning.terms[term.name]:.2f}" for term in rubric.terms]
    share = percent(earning.share) + mark
    return [earning.policy, f"{earning.reward:.3f}", share, percent(earning.right), *means]
