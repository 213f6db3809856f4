"""What cheats earn by a rubric, before a policy finds out.

Canned cheats and an honest oracle play the same cases, as real episodes, scored by the rubric. Two
of them set the scale, whatever the rubric's weights and offsets are: 0 is a guess in good form that
never looks, 1 is the oracle. A cheat that gets further than the floor from the one to the other is
caught; so is a rubric that pays the oracle no more than the guess. That scale is what GRPO sees,
whose advantages know neither offset nor unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medgym.cases import Case
from medgym.commands.printing import percent
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.policy import Policy
from medgym.progress import progress
from medgym.rollout import collect
from medgym.rubric import Rubric
from medgym.trajectory import Trajectory

from .cheats import CHEATS, Cheat, HonestOracle, draws

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
