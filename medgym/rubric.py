"""How an episode is scored: named, weighted terms whose sum is the reward.

A rubric sees the case, gold included, and the finished episode. It runs once, at the end. Whatever
gates one part of a reward by another (form before the answer, a bonus only when right) happens
inside a term, so that the reward always is the weighted sum of the terms that are logged.
"""

import bisect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from medgym.cases import Answer, Case, option_of
from medgym.errors import RunError, UserError, unknown
from medgym.messages import Malformed
from medgym.spec import kinds_of, read_options

if TYPE_CHECKING:
    from medgym.episode import Episode

Judge = Callable[[Case, "Episode"], float]


@dataclass(frozen=True)
class Schedule:
    """A factor on a term's weight, by the share of training that is done.

    Attributes:
        points: (share, factor) pairs with rising shares in 0..1; linear between them, and before
            the first and after the last one as there.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        shares = [share for share, _ in self.points]
        rising = all(a < b for a, b in pairwise(shares))
        finite = all(math.isfinite(factor) for _, factor in self.points)
        if not (shares and rising and finite and shares[0] >= 0 and shares[-1] <= 1):
            raise UserError(
                f"no schedule has the points {[list(point) for point in self.points]}; fix: write "
                "[[share of training done, factor], ...] with shares that rise from 0 to 1"
            )

    def at(self, progress: float) -> float:
        """The factor when a share `progress` of training is done."""
        shares = [share for share, _ in self.points]
        after = bisect.bisect_right(shares, progress)
        if after in (0, len(shares)):
            return self.points[min(after, len(shares) - 1)][1]
        (low, start), (high, end) = self.points[after - 1 : after + 1]
        return start + (end - start) * (progress - low) / (high - low)


@dataclass(frozen=True)
class Term:
    """One named part of a reward: `weight` times what `judge` says, times the schedule's factor."""

    name: str
    weight: float
    judge: Judge
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise UserError(f"the term {self.name!r} has the weight {self.weight}; fix: a number")

    def weighted(self, weight: float) -> "Term":
        """The same with another weight."""
        return replace(self, weight=weight)

    def scheduled(self, *points: tuple[float, float]) -> "Term":
        """The same with a weight that changes as training goes on; `points` as of `Schedule`."""
        return replace(self, schedule=Schedule(points))

    def named(self, name: str) -> "Term":
        """The same under another name."""
        return replace(self, name=name)

    def at(self, progress: float) -> "Term":
        """The same with the weight that it has when a share `progress` of training is done."""
        factor = 1.0 if self.schedule is None else self.schedule.at(progress)
        return replace(self, weight=self.weight * factor, schedule=None)


@dataclass(frozen=True)
class Score:
    """The reward of one episode: its total, each term unweighted, and whether it was right."""

    total: float
    terms: Mapping[str, float]
    correct: bool


@dataclass(frozen=True)
class Rubric:
    """A named list of terms. The reward is the weighted sum.

    A schedule counts through `at` alone: what is scored outside training counts the plain weights.
    """

    name: str
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"the rubric {self.name!r} has two terms {name!r}; fix: rename one")

    @classmethod
    def of(cls, name: str, *terms: Term) -> "Rubric":
        """A rubric of terms, of others' rubrics or one's own."""
        return cls(name, terms)

    def term(self, name: str) -> Term:
        """The term of that name; `UserError` where there is none (the nearest one is named)."""
        known = {term.name: term for term in self.terms}
        if name not in known:
            raise unknown(f"term of the rubric {self.name}", name, known)
        return known[name]

    def at(self, progress: float) -> "Rubric":
        """The rubric with the weights that hold when a share `progress` of training is done."""
        return Rubric(self.name, tuple(term.at(progress) for term in self.terms))

    def score(self, case: Case, episode: "Episode") -> Score:
        """Score a finished episode; `RunError` names a term that raises or gives no number."""
        values: dict[str, float] = {}
        for term in self.terms:
            try:
                values[term.name] = value = float(term.judge(case, episode))
                if not math.isfinite(value):
                    raise ValueError(f"{value} is no reward")
            except Exception as error:
                raise RunError(
                    f"the term {term.name!r} of the rubric {self.name!r} failed on {case.id}: "
                    f"{type(error).__name__}: {error}; fix: correct the term"
                ) from error
        total = sum(term.weight * values[term.name] for term in self.terms)
        return Score(total, values, answered_right(case, episode) == 1.0)


def answered_right(case: Case, episode: "Episode") -> float:
    """1 where the episode's answer is the gold answer (`Answer.matches`), else 0."""
    return float(episode.answer is not None and Answer.of(case).matches(episode.answer))


def well_formed(case: Case, episode: "Episode") -> float:
    """1 where every reply could be read and the answer names an option (if any), else 0."""
    if episode.answer is None or any(isinstance(t.action, Malformed) for t in episode.turns):
        return 0.0
    return float(not case.options or option_of(episode.answer, case.options) is not None)


def thought_through(case: Case, episode: "Episode") -> float:
    """1 where every reply could be read and holds a thought and the last one answers, else 0.

    The thought may be empty and the answer anything, as where `<think>.*?</think>` is looked for.
    """
    if episode.answer is None or any(isinstance(t.action, Malformed) for t in episode.turns):
        return 0.0
    return float(all(turn.action.think is not None for turn in episode.turns))


def outcome() -> Rubric:
    """The default: the right answer earns 1, good form 0.1.

    Form weighs little, so that no form earns what one more right answer in ten does.
    """
    terms = (Term("answer", 1.0, answered_right), Term("format", 0.1, well_formed))
    return Rubric("outcome", terms)


def load_rubric(name: "str | Rubric") -> Rubric:
    """The rubric that a spec names; a `Rubric` is returned as it is.

    Args:
        name: a registered name, with options of its function behind it if wanted:
            `grounded,measure=coverage`.

    Raises:
        UserError: an unknown rubric or option (the nearest one is named), or a value that the
            option does not take.
    """
    if isinstance(name, Rubric):
        return name
    from medgym.registry import load

    plain, _, text = name.partition(",")
    make = load("rubrics", plain)
    made = make(**read_options(f"the rubric {plain}", text, kinds_of(make), ","))
    assert isinstance(made, Rubric)
    return made
