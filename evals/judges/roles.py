"""How the roles of consultations did: sums over episodes, of which none is kept."""

from array import array
from collections.abc import Iterable
from math import fsum

from medgym.judge import RoleJudgement
from medgym.metrics.rate import Rate
from medgym.trajectory import Trajectory


class RoleTally:
    """Sums over the parts that one role played."""

    def __init__(self) -> None:
        self._parts = self._places = 0
        self._whole = self._right = self._answered = self._turns = self._calls = self._tokens = 0
        self._seconds = array("d")

    def add(self, place: int, seconds: float, part: Trajectory) -> None:
        """Take a part that stood at a place among those of its episode."""
        self._parts += 1
        self._places += place
        if part.failure is not None:
            return
        self._whole += 1
        self._right += part.correct
        self._answered += part.answer is not None
        self._turns += part.turns
        self._calls += len(part.calls)
        self._tokens += part.tokens
        self._seconds.append(seconds)

    @property
    def place(self) -> float:
        """Where the role usually acts."""
        return self._places / self._parts

    def judgement(self) -> RoleJudgement:
        """How the role did."""

        def mean(total: float) -> float | None:
            return total / self._whole if self._whole else None

        wrong = self._whole - self._right
        return RoleJudgement(
            right=Rate.of([True] * self._right + [False] * wrong),
            answered=mean(self._answered),
            failed=self._parts - self._whole,
            turns=mean(self._turns),
            calls=mean(self._calls),
            tokens=mean(self._tokens),
            seconds=mean(fsum(self._seconds)),
        )


class RolesTally:
    """The tallies of all roles."""

    def __init__(self) -> None:
        self._roles: dict[str, RoleTally] = {}

    def add(self, trajectory: Trajectory) -> None:
        """Take the parts of a consultation; a single policy has none."""
        for place, branch in enumerate(trajectory.branches):
            role = branch.role.partition("/")[0]  # votes of a majority are numbered
            tally = self._roles.setdefault(role, RoleTally())
            tally.add(place, branch.seconds, trajectory.part(branch))

    def judgements(self, *, ordered: bool) -> dict[str, RoleJudgement]:
        """How each role did, in the order in which they usually act.

        Args:
            ordered: whether those that act at one place stand in the order in which they first
                came, rather than in that of their names.
        """
        roles: Iterable[tuple[str, RoleTally]] = self._roles.items()
        if not ordered:
            roles = sorted(roles, key=lambda role: role[0])
        by_place = sorted(roles, key=lambda role: role[1].place)
        return {role: tally.judgement() for role, tally in by_place}
