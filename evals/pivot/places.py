"""Pivots: the places in stored episodes at which a policy is asked for one reply."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from medgym.cases import Case
from medgym.errors import UserError
from medgym.messages import Calls, parse_action
from medgym.metrics.looking import hit
from medgym.rollout.branching import Resume, was_late
from medgym.trajectory import Look, Trajectory

Which = Literal["hit", "all", "first"]
"""Which replies with calls are pivots: of each episode the first whose look showed a whole gold
region, every one, or the first one."""


@dataclass(frozen=True)
class Pivot:
    """A reply with calls of a stored episode.

    Attributes:
        case: the episode's case. member: of the episode. turn: the number of the reply, from 1.
        tools: the tools that the reply called, one for each call.
        looks: the views that these calls made; of a pivot that showed a gold region only these.
        before: how many views tools had made before.
        resume: the beginning of the episode, up to this reply.
    """

    case: Case
    member: int
    turn: int
    tools: tuple[str, ...]
    looks: tuple[Look, ...]
    before: int
    resume: Resume

    @property
    def asked(self) -> Case:
        """The case under the id by which the pivot is stored."""
        return self.case.model_copy(update={"id": f"{self.case.id}~{self.member}.{self.turn}"})


@dataclass(frozen=True)
class Pivots:
    """The pivots of some episodes, and what has none.

    Attributes:
        pivots: in the order of the episodes.
        replies: how many replies the episodes of the pivots have.
        none: episodes without such a reply. left_out: episodes that failed, or in which a tool was
            late, so that they cannot be replayed.
    """

    pivots: tuple[Pivot, ...]
    replies: int
    none: int
    left_out: int

    @classmethod
    def of(cls, episodes: Iterable[tuple[Case, Trajectory]], which: Which) -> "Pivots":
        """The pivots of some episodes.

        Raises:
            UserError: an episode is a consultation. InvariantError: one is not what was played.
        """
        found: list[Pivot] = []
        replies = none = left_out = 0
        for case, trajectory in episodes:
            if trajectory.branches:
                raise UserError(
                    f"{trajectory.case_id}#{trajectory.member} is a consultation, whose roles read "
                    "different conversations; fix: name a run of a policy of one role"
                )
            if trajectory.failure is not None or was_late(trajectory.faults):
                left_out += 1
                continue
            pivots = list(pivots_of(case, trajectory, which))
            found += pivots
            replies += trajectory.turns if pivots else 0
            none += not pivots
        return cls(tuple(found), replies, none, left_out)


def pivots_of(case: Case, trajectory: Trajectory, which: Which) -> Iterator[Pivot]:
    """The pivots of one episode."""
    for turn, tools, looks, before in _calls(trajectory):
        if which == "hit":
            looks = tuple(each for each in looks if _shows(case, trajectory, each))
            if not looks:
                continue
        resume = Resume.of(trajectory, turn - 1)
        yield Pivot(case, trajectory.member, turn, tools, looks, before, resume)
        if which != "all":
            return


def _shows(case: Case, trajectory: Trajectory, look: Look) -> bool:
    return bool(hit(case, replace(trajectory, looks=(look,))))


def _calls(
    trajectory: Trajectory,
) -> Iterator[tuple[int, tuple[str, ...], tuple[Look, ...], int]]:
    """Of each reply with calls its number, its tools, the looks that they made, and how many looks
    there were before."""
    nodes, looks = trajectory.nodes, trajectory.looks
    start = len(nodes[0].images) if nodes else 0
    seen = 0
    for place in range(1, len(nodes), 2):
        before = seen
        if place + 1 < len(nodes):
            seen += sum(use.view >= start for use in nodes[place + 1].images)
        else:  # the last word of the episode: what its calls showed, no policy read
            seen = len(looks)
        action = parse_action(nodes[place].text)
        if isinstance(action, Calls):
            tools = tuple(call.name for call in action.calls)
            yield (place + 1) // 2, tools, looks[before:seen], before


def refuse_nothing(pivots: Sequence[Pivot], which: Which, run: str) -> None:
    """`UserError` where there is no pivot."""
    if not pivots:
        what = "whose looks showed a gold region" if which == "hit" else "with calls"
        also = ", or --pivots first" if which == "hit" else ""
        raise UserError(f"{run} has no reply {what}; fix: name a run whose policy looks{also}")
