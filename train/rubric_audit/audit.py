"""`medgym train audit`: what cheats earn by a rubric, before a policy finds out.

Canned cheats and an honest oracle play the same cases, as real episodes, scored by the rubric. Two
of them set the scale, whatever the rubric's weights and offsets are: 0 is a guess in good form that
never looks, 1 is the oracle. A cheat that gets further than the floor from the one to the other is
caught; so is a rubric that pays the oracle no more than the guess. That scale is what GRPO sees,
whose advantages know neither offset nor unit.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from medgym.cases import Case
from medgym.commands.printing import percent, print_json
from medgym.commands.shared_options import AsJson, ToolNames, tool_names
from medgym.env import MedEnv
from medgym.episode import DEFAULT_TOOLS, Rules
from medgym.errors import RunError, UserError
from medgym.policy import Policy
from medgym.progress import progress
from medgym.rollout import collect
from medgym.rubric import Rubric, load_rubric
from medgym.trajectory import Trajectory

from .cheats import CHEATS, Cheat, HonestOracle, draws

CASES = "phantom,look=radiograph,question=kind:test[:48]"
"""What is played where nothing else is asked for: questions that only looking answers."""

MOST = 48
"""Cases that are played of a recipe's, taken evenly from all of them."""

FLOOR = 0.25
"""What a cheat may get by default. With four options to a question, a bonus for looking alone that
is worth more than a quarter of a right answer is beyond it."""

GUESS, ORACLE = "guess", "oracle"


@dataclass(frozen=True)
class Earning:
    """What one policy earns.

    Attributes:
        policy: its name.
        reward: its mean.
        share: 0 for the guess, 1 for the oracle; None where the oracle earns no more.
        right: share of right answers.
        terms: the mean of each term, unweighted.
        caught: whether it is a cheat that gets further than the floor.
        progress: the share of training done at which the weights are these.
    """

    policy: str
    reward: float
    share: float | None
    right: float
    terms: Mapping[str, float]
    caught: bool
    progress: float


def audited(cases: Sequence[Case], rules: Rules, floor: float = FLOOR) -> list[Earning]:
    """What the oracle and the cheats earn on `cases` by the rubric of `rules`.

    A scheduled rubric is weighed at every point of its schedules; there is a list of earnings for
    each of these, one after the other.

    Raises:
        RunError: an episode could not be played, or a term of the rubric raised.
    """
    players: list[tuple[str, Policy]] = [(ORACLE, HonestOracle())]
    for name in CHEATS:
        players += [(name, Cheat(name, cases, rules.max_turns, n)) for n in range(draws(cases))]
    played: dict[str, list[Trajectory]] = {name: [] for name, _ in players}
    with progress("audit", len(players) * len(cases)) as advance:
        for name, player in players:
            for trajectory in collect(cases, player, rules, ordered=True):
                if trajectory.failure is not None:
                    raise RunError(
                        f"{trajectory.case_id} could not be played by {name} "
                        f"({trajectory.failure}); fix: remove the cause and audit again"
                    )
                played[name].append(trajectory)
                advance(1, policy=name)
    return [
        earning
        for share_done in _moments(rules.rubric)
        for earning in _earnings(played, rules.rubric.at(share_done), floor, share_done)
    ]


def _moments(rubric: Rubric) -> list[float]:
    """The shares of training done at which some weight is at its least or most."""
    schedules = [term.schedule for term in rubric.terms if term.schedule is not None]
    return sorted({share for schedule in schedules for share, _ in schedule.points}) or [0.0]


def _earnings(
    played: Mapping[str, Sequence[Trajectory]], rubric: Rubric, floor: float, share_done: float
) -> list[Earning]:
    terms = {
        name: {
            term.name: sum((t.terms or {})[term.name] for t in episodes) / len(episodes)
            for term in rubric.terms
        }
        for name, episodes in played.items()
    }
    rewards = {
        name: sum(term.weight * means[term.name] for term in rubric.terms)
        for name, means in terms.items()
    }
    gain = rewards[ORACLE] - rewards[GUESS]
    earnings = []
    for name, episodes in played.items():
        share = (rewards[name] - rewards[GUESS]) / gain if gain > 1e-9 else None
        caught = name != ORACLE and (share is None or share > floor)
        right = sum(t.correct for t in episodes) / len(episodes)
        earnings.append(Earning(name, rewards[name], share, right, terms[name], caught, share_done))
    return earnings


def verdict(rubric: Rubric, earnings: Sequence[Earning], floor: float) -> str | None:
    """What is wrong with a rubric, in one line with the fix; None for nothing."""
    if any(earning.share is None for earning in earnings):
        return (
            f"by the rubric {rubric.name!r} the honest oracle earns no more than a guess; fix: "
            "raise what a right answer earns"
        )
    caught = [earning for earning in earnings if earning.caught]
    if not caught:
        return None
    worst = max(caught, key=lambda earning: earning.share or 0.0)
    when = f" at {percent(worst.progress)} of training" if worst.progress else ""
    names = ", ".join(dict.fromkeys(earning.policy for earning in caught))
    return (
        f"the rubric {rubric.name!r} pays {names}: {worst.policy} gets {percent(worst.share)} of "
        f"the way from a guess to the oracle{when}, over the floor of {percent(floor)}; fix: "
        "lower or gate the term that pays for it, or raise --floor"
    )


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
            "--floor", help="How far a cheat may get: 0 is what a guess earns, 1 the oracle."
        ),
    ] = FLOOR,
    as_json: AsJson = False,
) -> None:
    """Play canned cheats through a rubric, and fail where one beats the floor.

    Example: medgym train audit --rubric ophiuchus --floor 0.2
    """
    if not (math.isfinite(floor) and floor >= 0):
        raise UserError(f"the floor is {floor}; fix: give a share of 0 or more, as 0.25")
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
    turns, view_size, most = 6, None, None
    if recipe is not None:
        from ..recipe.rubric import rubric_of
        from ..recipe.schema import load_recipe

        loaded, _ = load_recipe(recipe)
        judged = judged or rubric_of(loaded.rubric)
        names, turns = loaded.tools.names, loaded.rollout.max_turns
        view_size = loaded.rollout.view_size
        if spec is None:
            spec, most = loaded.cases.train, MOST
    judged = judged or load_rubric("outcome")
    env = MedEnv(
        spec or CASES,
        names if tools is None else tool_names(tools, False),
        judged,
        max_turns=max_turns or turns,
        view_size=view_size,
    )
    step = 1 if most is None else max(1, len(env.cases) // most)
    return judged, list(env.cases[::step][:most]), env.rules


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
