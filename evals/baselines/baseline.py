"""What a score is to be seen beside: policies that never look, computed from the cases alone.

chance: each option equally often, or yes and no; of cases with options, or with such a gold.
prior: the most frequent answer to questions of the kind, see `prior`.
constant text: one text for all cases: the best of the most frequent answers and of `PARAGRAPH`.

No policy is asked. Cases are streamed twice and not kept.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan, sqrt
from typing import Any

import numpy as np

from medgym.cases import Case, normalised
from medgym.metrics.groups import Groups
from medgym.metrics.rate import CONFIDENCE, Rate, bounds_of_equals
from medgym.scorer import grade, scorer_name

from ..scorers.words import best_overlap
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
    prior.forget()
    right = _Rights()
    constant = [array("b") for _ in texts]
    learned, chance, recall, f1 = (array("d") for _ in range(4))
    for case, tied in zip(cases, answers, strict=True):
        for text, scores in zip(texts, constant, strict=True):
            scores.append(right(case, text))
        learned.append(_mean(right(case, text) for text in tied))
        share = _chance(case)
        chance.append(nan if share is None else share)
        is_open = case.answer_type == "open" and not case.options
        words = best_overlap(case, PARAGRAPH) if is_open else None
        recall.append(nan if words is None else words.recall)
        f1.append(nan if words is None else words.f1)
    best = max(range(len(texts)), key=lambda at: sum(constant[at]))

    def rate(scores: Sequence[float]) -> Rate:
        return _rate(scores, prior.groups)

    found = [Baseline(CONSTANT, rate(constant[best]), texts[best])]
    if not all(map(isnan, recall)):
        found[0] = replace(found[0], recall=rate(recall), f1=rate(f1))
    if any(answers):
        found.append(Baseline(PRIOR, rate(learned)))
    if not all(map(isnan, chance)):
        found.append(Baseline(CHANCE, rate(chance)))
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


def _rate(scores: Sequence[float], of: Sequence[int]) -> Rate:
    """The mean of scores with its interval over groups: that of a share of right answers, and of
    scores between 0 and 1 the one that follows from the variance between groups.

    Args:
        scores: of each case; NaN where it has none.
        of: a hash of what each case is not independent of.
    """
    every = np.asarray(scores, np.float64)
    values = every[~np.isnan(every)]
    groups: list[int] = np.asarray(of, np.int64)[~np.isnan(every)].tolist()
    if np.isin(values, (0.0, 1.0)).all():
        return Rate.of((values == 1.0).tolist(), groups)
    found = Groups.of([values], groups)
    n, mean = len(values), float(found.means[0])
    if np.ptp(found.sums[:, 0] / found.sizes) < 1e-12:
        return Rate(mean, *bounds_of_equals(mean, 0.0, 1.0, groups), n)
    if found.count == 1:  # nothing says how much groups differ
        return Rate(mean, 0.0, 1.0, n)
    from scipy.special import stdtrit

    off = found.sums[:, 0] - mean * found.sizes
    variance = found.count / (found.count - 1) * float(np.sum(off**2)) / n**2
    half = float(stdtrit(found.count - 1, 0.5 + CONFIDENCE / 2)) * sqrt(variance)
    return Rate(mean, max(0.0, mean - half), min(1.0, mean + half), n)
