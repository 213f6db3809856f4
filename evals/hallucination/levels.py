"""The six levels of MediHall, from a catastrophic hallucination to a correct statement.

After "Detecting and Evaluating Medical Hallucinations in Large Vision Language Models" (arXiv
2406.10185) and the card of its data set Med-HallMark, in our words. An answer to a question has one
level. A report has one for each sentence, and scores the mean of these.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class HallucinationLevel:
    """A level: what it scores, and what is wrong with a statement of it."""

    name: str
    score: float
    about: str


LEVELS = (
    HallucinationLevel(
        "catastrophic", 0.0,
        "wrong about the image as a whole: an abnormal image is called normal, a finding is "
        "invented in a normal one, or one organ is taken for another",
    ),
    HallucinationLevel(
        "critical", 0.2,
        "wrong about what a finding is: another disease or type of finding, a further finding "
        "invented in an abnormal image, one of several omitted, or the function of an organ",
    ),
    HallucinationLevel(
        "attribute", 0.4,
        "a finding that is there, with a wrong size, shape, place, side, number or change",
    ),
    HallucinationLevel("prompt-induced", 0.6, "accepts what is false in a question that misleads"),
    HallucinationLevel(
        "minor", 0.8, "wrong about the type of image, its view, or how it was taken"
    ),
    HallucinationLevel("correct", 1.0, "no hallucination"),
)  # fmt: skip

SCORES = {level.name: level.score for level in LEVELS}

CATASTROPHIC, CRITICAL, ATTRIBUTE, PROMPT_INDUCED, MINOR, CORRECT = SCORES


def worst(names: Iterable[str]) -> str | None:
    """The most severe of some levels; None of none."""
    return min(names, key=SCORES.__getitem__, default=None)


def medihall(names: Iterable[str | None]) -> float | None:
    """The score of an answer or of a report's sentences; those without a level do not count."""
    scores = [SCORES[name] for name in names if name is not None]
    return fmean(scores) if scores else None
