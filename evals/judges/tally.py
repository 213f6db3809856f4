"""The figures of the judge `vqa`, counted episode by episode: a short row of each is kept."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import fsum
from operator import itemgetter
from statistics import fmean
from typing import TypeVar, get_args

import numpy as np

from medgym.cases import Case, normalised
from medgym.errors import RunError, UserError
from medgym.failures import Withheld, unreadable_of, withheld_of
from medgym.judge import Judgement
from medgym.metrics.looking import hit
from medgym.metrics.rate import Rate
from medgym.scorer import load_scorer, scorer_name
from medgym.trajectory import Trajectory
from medgym.unreadable import most_unreadable

from ..outcomes.columns import Floats, Ints, NumberColumns
from ..outcomes.packed import PackedRows, in_order
from .needed import NeededTally
from .roles import RolesTally

Unit = tuple[str, str]
Row = TypeVar("Row", bound=tuple[object, ...])


@dataclass(frozen=True)
class _Episode:
    """What the figures need of an episode that was played."""

    unit: Unit
    answer: str | None
    correct: bool
    hit: bool | None
    reward: float | None


@dataclass(frozen=True)
class _LeftOut:
    """What the figures need of one that was not."""

    case: str
    member: int
    unit: Unit
    failure: str


class VqaTally:
    """Counts episodes for the judge `vqa`.

    Args:
        policy: the policy's spec.
        ordered: whether episodes come in the order of the cases. Then what is listed by name is in
            that order too; else it is sorted, so that it does not depend on which ended first.
    """

    def __init__(self, policy: str, *, ordered: bool = False) -> None:
        self._policy = policy
        self._ordered = ordered
        self._played = PackedRows[_Episode]()
        self._left_out: list[_LeftOut] = []
        self._sums: Counter[str] = Counter()
        self._roles = RolesTally()
        self._needed = NeededTally()
        self._scorers: set[str] = set()
        self._spelled: dict[str, tuple[str, str]] = {}  # by answer: of which case, and how

    def add(self, case: Case, trajectory: Trajectory) -> None:
        """Count an episode."""
        self._sums["cases"] += trajectory.member == 0
        unit = unit_of(case)
        if trajectory.failure is not None:
            row = _LeftOut(case.id, trajectory.member, unit, trajectory.failure)
            self._left_out.append(row)
            return
        self._roles.add(trajectory)
        self._needed.add(case, trajectory, unit)
        self._scorers.add(scorer_name(case))
        parts = trajectory.parts()
        self._sums["answered"] += trajectory.answer is not None
        self._sums["looked"] += bool(trajectory.looks)
        self._sums["turns"] += trajectory.turns
        self._sums["calls"] += sum(len(part.calls) for _, part in parts)
        self._sums["tokens"] += trajectory.tokens
        answer = self._named(case)
        seen = hit(case, trajectory)
        self._played.add(_Episode(unit, answer, trajectory.correct, seen, trajectory.reward))

    def _named(self, case: Case) -> str | None:
        """The gold answer by which a case is counted; None where its answers are not told apart.

        Answers that the scorers take as the same are one, spelled as by the first case.
        """
        if case.answer_type not in ("choice", "closed"):
            return None
        answer = normalised(case.answer)
        spelled = (case.id, case.answer)
        first = self._spelled.setdefault(answer, spelled)
        if not self._ordered and spelled < first:
            self._spelled[answer] = spelled
        return answer

    def judgement(self) -> Judgement:
        """The figures of all episodes so far.

        Raises:
            UserError: there is none.
            RunError: the replies to all of them were withheld, or most of them cannot be read.
        """
        left_out, played = self._left_out, len(self._played)
        if not played and not left_out:
            raise UserError("there is no case to judge on; fix: widen the slice")
        if not self._ordered:
            left_out = sorted(left_out, key=lambda each: (each.case, each.member))
        lost = [each for each in left_out if unreadable_of(each.failure) is None]
        unread = [each for each in left_out if unreadable_of(each.failure) is not None]
        unreadable = {each.case: unreadable_of(each.failure) or "" for each in unread}
        if 2 * len(unreadable) > self._sums["cases"]:
            raise most_unreadable(unreadable, self._sums["cases"])
        if not played:
            raise RunError(
                f"no case has a reply ({lost[0].failure}), so that there is nothing to judge; "
                "fix: ask another model or server"
            )
        answers: dict[str, int] = {}
        numbered = (_numbered(each, answers) for each in self._played)
        rows = NumberColumns(self._sorted(numbered), 4)
        right, units, asked = rows.values[0] == 1, rows.units, rows.values[1]
        hits, rewards = (column[~np.isnan(column)].tolist() for column in rows.values[2:])
        by_answer = {
            self._spelled[answer][1]: places
            for answer, places in zip(answers, _places_of(asked, len(answers)), strict=True)
        }
        of_all = chain(
            ((each.unit, each.correct) for each in self._played),
            ((each.unit, False) for each in unread),
        )
        return Judgement(
            policy=self._policy,
            accuracy=Rate.of(right.tolist(), units.tolist()),
            answered=self._sums["answered"] / played,
            looked=self._sums["looked"] / played,
            hit=fmean(hits) if hits else None,
            by_answer={
                name: Rate.of(right[places].tolist(), units[places].tolist())
                for name, places in sorted(by_answer.items(), key=itemgetter(0))
            },
            turns=self._sums["turns"] / played,
            calls=self._sums["calls"] / played,
            tokens=self._sums["tokens"] / played,
            roles=self._roles.judgements(ordered=self._ordered),
            trajectories=(),
            reward=fsum(rewards) / len(rewards) if rewards else None,
            scorers={name: load_scorer(name).version for name in sorted(self._scorers)},
            unreadable=unreadable,
            accuracy_of_all=self._rate(of_all) if unreadable else None,
            withheld=self._withheld(lost),
            failed={
                f"{each.case}#{each.member}": each.failure
                for each in lost
                if withheld_of(each.failure) is None
            },
            metrics=self._needed.metrics(),
            cases=self._sums["cases"],
            episodes=played + len(left_out),
        )

    def _withheld(self, lost: Sequence[_LeftOut]) -> dict[str, Rate]:
        """How often the server withheld a reply, of the episodes of cases that can be read."""
        why = [(each.unit, withheld_of(each.failure)) for each in lost]
        return {
            name: self._rate(
                chain(
                    ((each.unit, False) for each in self._played),
                    ((unit, reason == name) for unit, reason in why),
                )
            )
            for name in get_args(Withheld)
            if any(reason == name for _, reason in why)
        }

    def _sorted(self, rows: Iterable[Row]) -> Iterable[Row]:
        """Rows that begin with a unit, in an order that does not depend on which ended first."""
        return rows if self._ordered else in_order(rows, key=itemgetter(0, 1))

    def _rate(self, scored: Iterable[tuple[Unit, bool]]) -> Rate:
        """The share of right episodes."""
        rows = NumberColumns(self._sorted(scored), 1)
        return Rate.of((rows.values[0] == 1).tolist(), rows.groups())


def _numbered(
    each: _Episode, answers: dict[str, int]
) -> tuple[Unit, bool, int | None, bool | None, float | None]:
    """An episode as numbers; that of its answer is its place among `answers`, which take it."""
    number = None if each.answer is None else answers.setdefault(each.answer, len(answers))
    return each.unit, each.correct, number, each.hit, each.reward


def _places_of(numbers: Floats, count: int) -> Iterator[Ints]:
    """The places of each of `count` numbers, in order."""
    ordered = np.argsort(numbers, kind="stable")  # what has none stands at the end
    start = 0
    for end in np.searchsorted(numbers[ordered], np.arange(count), side="right"):
        yield ordered[start:end]
        start = end


def unit_of(case: Case) -> Unit:
    """To whom a case belongs: cases of one group are not independent. One without a group is
    independent of all others."""
    return case.source, case.group or case.id
