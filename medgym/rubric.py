"""How an episode is rewarded: named, weighted terms whose sum is the reward.

A rubric runs once, at the end of an episode. The reward is always the weighted sum of the terms
that are logged. So a condition between parts of a reward (a bonus only where the answer is right)
belongs inside a term.

A term is a function of two arguments that returns a finite number.

- The case (`medgym.Case`), with its gold: `answer`, `regions`, `options`, `answer_type`.
- The finished episode (`medgym.episode.Episode`):
  - `episode.answer`: the final answer, None where there is none.
  - `episode.turns`: one `Turn` for each reply. `turn.reply` is its text. `turn.action` is how it
    was read: `Calls` with its `calls`, `Final` with its `answer`, or `Malformed` with its `error`;
    the first two have `think`, None where the reply holds no thought. `turn.outcomes` has one
    `ToolOutcome` for each call: the `call` (`name`, `arguments`), its `text`, its `views`, the
    tool's `data`, and whether it `failed`.
  - `episode.messages`: the conversation, from the system message on.
  - `episode.workspace`: the views. `workspace.views` lists them, with `view.image`, `view.box_px`
    in original pixels, and `view.made_by`, None for a view from the start. `looks_of(episode)` in
    `medgym.rollout.record` lists the views that tools made.
  - `episode.terminated`: an answer was given. `episode.truncated`: the turns or tokens ran out.

`answered_right`, `well_formed` and `thought_through` below are terms for common wants, and
`medgym.scorer.grade(case, episode.answer)` says how good an answer is.
"""

import bisect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from medgym.cases import Case, option_of
from medgym.errors import RunError, UserError, unknown
from medgym.failures import ContractError, PlugInCall, calling, raised
from medgym.messages import Malformed
from medgym.scorer import grade
from medgym.spec import kinds_of, read_options

if TYPE_CHECKING:
    from medgym.episode import Episode

TermFunction = Callable[[Case, "Episode"], float]
"""What a term measures: a finite number for a case and its finished episode."""


@dataclass(frozen=True)
class Schedule:
    """A factor on a term's weight that changes while a policy trains.

    Attributes:
        points: (share of training done, factor) pairs; the shares rise within 0..1. The factor is
            linear between points, and constant before the first and after the last.
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
        """The factor at that point of training: 0 at its start, 1 at its end."""
        shares = [share for share, _ in self.points]
        after = bisect.bisect_right(shares, progress)
        if after in (0, len(shares)):
            return self.points[min(after, len(shares) - 1)][1]
        (low, start), (high, end) = self.points[after - 1 : after + 1]
        return start + (end - start) * (progress - low) / (high - low)


@dataclass(frozen=True)
class Term:
    """One named part of a reward: what `function` gives, times `weight`, times the schedule.

    Attributes:
        name: the term's name in logs and tables; unique in its rubric.
        weight: what a value of 1 earns; negative for a penalty.
        function: called once with the case and the finished episode; see this module's text.
        schedule: how the weight changes while a policy trains.
    """

    name: str
    weight: float
    function: TermFunction
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise UserError(
                f"the term {self.name!r} has the weight {self.weight}; fix: give a finite number"
            )

    def weighted(self, weight: float) -> "Term":
        """The same term with another weight."""
        return replace(self, weight=weight)

    def scheduled(self, *points: tuple[float, float]) -> "Term":
        """The same term with a weight that changes in training; `points` as in `Schedule`."""
        return replace(self, schedule=Schedule(points))

    def named(self, name: str) -> "Term":
        """The same term under another name."""
        return replace(self, name=name)

    def at(self, progress: float) -> "Term":
        """The same term with its weight at that point of training: 0 at its start, 1 at its end."""
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

    A schedule counts only in training, through `at`. Elsewhere the plain weights count.
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
        """A rubric of terms, taken from other rubrics or new."""
        return cls(name, terms)

    def term(self, name: str) -> Term:
        """The term of that name; `UserError` names the nearest one where there is none."""
        known = {term.name: term for term in self.terms}
        if name not in known:
            raise unknown(f"term of the rubric {self.name}", name, known)
        return known[name]

    def at(self, progress: float) -> "Rubric":
        """The rubric with its weights at that point of training: 0 at its start, 1 at its end."""
        return Rubric(self.name, tuple(term.at(progress) for term in self.terms))

    def score(self, case: Case, episode: "Episode") -> Score:
        """The reward of a finished episode.

        Raises:
            UserError: the case's gold is not of its type. RunError: a term or the scorer raises, or
                a term gives no finite number.
        """
        right = grade(case, episode.answer).right
        values: dict[str, float] = {}
        for term in self.terms:
            with PlugInCall(partial(self._failed, term, case)):
                values[term.name] = _number(term.function(case, episode))
        total = sum(term.weight * values[term.name] for term in self.terms)
        if not math.isfinite(total):
            raise RunError(
                f"the terms of the rubric {self.name!r} add up to {total} on {case.id}; fix: give "
                "them smaller weights"
            )
        return Score(total, values, right)

    def _failed(self, term: Term, case: Case, error: BaseException) -> RunError:
        reason = str(error) if isinstance(error, ContractError) else raised(error)
        return RunError(
            f"the term {term.name!r} of the rubric {self.name!r} failed on {case.id}: {reason}; "
            "fix: correct the term"
        )


def _number(value: object) -> float:
    """What a term gave as a number; `ContractError` where it gave none, or none that is finite."""
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise ContractError(f"a {type(value).__name__} is not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ContractError(f"{number} is not a finite number")
    return number


def answered_right(case: Case, episode: "Episode") -> float:
    """1 where the scorer of the case's answer type says that the answer is right, else 0."""
    return float(grade(case, episode.answer).right)


def well_formed(case: Case, episode: "Episode") -> float:
    """1 where every reply could be read and the answer names an option (if any), else 0."""
    if episode.answer is None or any(isinstance(t.action, Malformed) for t in episode.turns):
        return 0.0
    return float(not case.options or option_of(episode.answer, case.options) is not None)


def thought_through(case: Case, episode: "Episode") -> float:
    """1 where every reply could be read and holds a thought and the last one answers, else 0.

    The thought may be empty and the answer may be anything.
    """
    if episode.answer is None or any(isinstance(t.action, Malformed) for t in episode.turns):
        return 0.0
    return float(all(turn.action.think is not None for turn in episode.turns))


def outcome() -> Rubric:
    """The default: the right answer earns 1, good form 0.1.

    Form weighs little: one more right answer in ten episodes earns as much as all good form.
    """
    terms = (Term("answer", 1.0, answered_right), Term("format", 0.1, well_formed))
    return Rubric("outcome", terms)


def load_rubric(name: "str | Rubric") -> Rubric:
    """The rubric that a spec names; a `Rubric` is returned as it is.

    Args:
        name: a registered name, followed by options of its function where wanted:
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
    options = read_options(f"the rubric {plain}", text, kinds_of(make), ",")
    with calling(f"the rubric {plain!r}"):
        made: object = make(**options)
        if not isinstance(made, Rubric):
            raise ContractError(f"made a {type(made).__name__}; expected a medgym.Rubric")
    return made
