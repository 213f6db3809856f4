"""What a score is to be seen beside: policies that never look, computed from the cases alone.

chance: each option equally often, or yes and no; of cases with options, or with such a gold.
prior: the most frequent answer to questions of the kind, see `prior`.
constant text: one text for all cases: the best of the most frequent answers and of `PARAGRAPH`.

No policy is asked. Cases are streamed twice and not kept.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from medgym.cases import Case, normalised
from medgym.metrics.rate import CONFIDENCE, Rate, bounds_of_equals
from medgym.scorer import grade, scorer_name

from ..scorers.words import best_overlap
from ..statistics.groups import Groups
from .prior import FrequentAnswers

PARAGRAPH = (
    "Yes. No. The image shows a normal axial CT, MRI or X-ray of the chest, abdomen, brain, head, "
    "lung, liver, heart, kidney and spine, on the left and the right side, upper and lower, with a "
    "mass, lesion, fracture, effusion, nodule, edema, pneumonia, tumor or cancer in it, white and "
    "black, present, not seen, one, two or both."
)
"""A text of common words. Rules that count the gold's words anywhere in an answer reward it."""

CANDIDATES = 4
"""Of the most frequent golds, texts and letters, how many are tried as a constant text."""

KNOWN = 10_000
"""Verdicts that are kept while baselines are computed."""

CONSTANT, PRIOR, CHANCE = "constant text", "prior", "chance"

YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Baseline:
    """What a policy that never looks gets.

    Attributes:
        name: `CONSTANT`, `PRIOR` or `CHANCE`.
        accuracy: its expected share of right answers, with its interval over groups.
        text: the constant text.
        recall, f1: of open cases, what `PARAGRAPH` shares with the golds.
    """

    name: str
    accuracy: Rate
    text: str = ""
    recall: Rate | None = None
    f1: Rate | None = None

    def as_dict(self) -> dict[str, Any]:
        """The baseline as a row of `results.json`."""
        found: dict[str, Any] = {"baseline": self.name, "accuracy": self.accuracy.as_dict()}
        if self.text:
            found["text"] = self.text
        if self.recall is not None and self.f1 is not None:
            found["paragraph_recall"] = self.recall.as_dict()
            found["paragraph_f1"] = self.f1.as_dict()
        return found


def baselines(cases: Sequence[Case]) -> list[Baseline]:
    """The baselines of these cases; one that no case has is left out.

    Raises:
        UserError: a case's gold is not of its type.
    """
    prior = FrequentAnswers()
    for case in cases:
        prior.add(case)
    texts = [*prior.most_frequent(CANDIDATES), PARAGRAPH]
    answers = prior.answers()
    right = _Rights()
    constant = [_Scores(prior.groups) for _ in texts]
    learned, chance, recall, f1 = (_Scores(prior.groups) for _ in range(4))
    for place, (case, tied) in enumerate(zip(cases, answers, strict=True)):
        for text, scores in zip(texts, constant, strict=True):
            scores.add(place, right(case, text))
        learned.add(place, _mean(right(case, text) for text in tied))
        if (share := _chance(case)) is not None:
            chance.add(place, share)
        if case.answer_type == "open" and not case.options:
            words = best_overlap(case, PARAGRAPH)
            recall.add(place, words.recall)
            f1.add(place, words.f1)
    best = max(range(len(texts)), key=lambda at: constant[at].total)
    found = [
        Baseline(
            CONSTANT,
            constant[best].rate(),
            texts[best],
            *((recall.rate(), f1.rate()) if recall.values else ()),
        )
    ]
    if any(answers):
        found.append(Baseline(PRIOR, learned.rate()))
    if chance.values:
        found.append(Baseline(CHANCE, chance.rate()))
    return found


def _chance(case: Case) -> float | None:
    """The share of right answers of a policy that takes each option equally often."""
    if case.options and case.answer:
        right = {normalised(gold) for gold in case.golds}
        return _mean(normalised(option) in right for option in case.options)
    if case.answer_type == "closed" and normalised(case.answer) in YES_NO:
        return 0.5
    return None


def _mean(values: Iterable[float]) -> float:
    given = list(values)
    return sum(given) / len(given) if given else 0.0


class _Rights:
    """Whether a text is right, asked once for all cases of the same golds and options."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], bool] = {}

    def __call__(self, case: Case, text: str) -> bool:
        if case.regions and not case.answer:
            return grade(case, text).right
        key = scorer_name(case), case.golds, case.options, text
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= KNOWN:
                self._known.clear()
            found = self._known[key] = grade(case, text).right
        return found


class _Scores:
    """Scores of cases.

    Args:
        groups: a hash of what each case is not independent of, by its place.
    """

    def __init__(self, groups: Sequence[int]) -> None:
        self._groups = groups
        self._places = array("q")
        self.values = array("d")

    @property
    def total(self) -> float:
        """The sum of all scores."""
        return sum(self.values)

    def add(self, place: int, score: float) -> None:
        """Take the score of the case at a place."""
        self._places.append(place)
        self.values.append(score)

    def rate(self) -> Rate:
        """The mean with its interval over groups: that of a share of right answers, and of scores
        between 0 and 1 the one that follows from the variance between groups."""
        groups = [self._groups[place] for place in self._places]
        if {*self.values} <= {0.0, 1.0}:
            return Rate.of([value == 1.0 for value in self.values], groups)
        found = Groups.of([self.values.tolist()], groups)
        n, mean = len(self.values), float(found.means[0])
        if np.ptp(found.sums[:, 0] / found.sizes) < 1e-12:
            return Rate(mean, *bounds_of_equals(mean, 0.0, 1.0, groups), n)
        if found.count == 1:  # nothing says how much groups differ
            return Rate(mean, 0.0, 1.0, n)
        from scipy.special import stdtrit

        off = found.sums[:, 0] - mean * found.sizes
        variance = found.count / (found.count - 1) * float(np.sum(off**2)) / n**2
        half = float(stdtrit(found.count - 1, 0.5 + CONFIDENCE / 2)) * sqrt(variance)
        return Rate(mean, max(0.0, mean - half), min(1.0, mean + half), n)
