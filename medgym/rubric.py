"""How an episode is scored: named, weighted terms whose sum is the reward.

A rubric sees the case, gold included, and the finished episode. It runs once, at the end.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medgym.cases import Answer, Case, option_of
from medgym.errors import RunError, UserError
from medgym.messages import Malformed

if TYPE_CHECKING:
    from medgym.episode import Episode

Judge = Callable[[Case, "Episode"], float]


@dataclass(frozen=True)
class Term:
    """One named part of a reward: `weight` times what `judge` says."""

    name: str
    weight: float
    judge: Judge


@dataclass(frozen=True)
class Score:
    """The reward of one episode: its total, each term unweighted, and whether it was right."""

    total: float
    terms: Mapping[str, float]
    correct: bool


@dataclass(frozen=True)
class Rubric:
    """A named list of terms. The reward is the weighted sum."""

    name: str
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        for name in names:
            if names.count(name) > 1:
                raise UserError(
                    f"the rubric {self.name!r} has two terms {name!r}; mend: rename one"
                )

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
                    f"{type(error).__name__}: {error}; mend: correct the term"
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


def outcome() -> Rubric:
    """The default: the right answer earns 1, good form 0.1.

    Form weighs little, so that no form earns what one more right answer in ten does.
    """
    terms = (Term("answer", 1.0, answered_right), Term("format", 0.1, well_formed))
    return Rubric("outcome", terms)


def load_rubric(name: "str | Rubric") -> Rubric:
    """The rubric registered under a name; a `Rubric` is returned as it is."""
    if isinstance(name, Rubric):
        return name
    from medgym.registry import load

    made = load("rubrics", name)()
    assert isinstance(made, Rubric)
    return made
