"""What variants do to a policy: accuracy, its paired difference from the clean cases, and whether
the answers stay the same."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.cases import Case, normalised, option_of
from medgym.metrics.intervals import Interval
from medgym.metrics.rate import Rate
from medgym.seeds import seed_of

from ..outcomes.outcome import CaseOutcome
from ..statistics.paired import PairedDifference, difference, holm
from .source import MARK
from .variants import Variant

Key = tuple[str, int]
"""The id of the clean case, and which of its episodes."""

Unit = tuple[str, str]

ABSENT = -1


@dataclass(frozen=True)
class VariantFigures:
    """How a policy did on one variant of the cases, against the same cases as they are.

    Attributes:
        variant: which one.
        accuracy, clean: the shares of right answers on the variant, and on the same cases clean.
        difference: accuracy on the variant less that on the clean cases.
        adjusted: p of the permutation test, adjusted over all variants (Holm).
        same: the share of the answers that stay the same text, of the cases that were answered.
        unfit: how many cases the variant does not fit.
    """

    variant: Variant
    accuracy: Rate
    clean: Rate
    difference: PairedDifference
    adjusted: float
    same: Rate
    unfit: int

    def as_dict(self) -> dict[str, Any]:
        """The figures as a row of `results.json`."""
        return {
            "variant": str(self.variant),
            "cases": self.accuracy.n,
            "accuracy": self.accuracy.as_dict(),
            "clean": self.clean.as_dict(),
            "difference": finite(self.difference.interval),
            "p": self.difference.permutation,
            "adjusted_p": self.adjusted,
            "verdict": self.difference.outcome,
            "same_answer": self.same.as_dict(),
            "unfit": self.unfit,
        }


def finite(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON holds it; an end that nothing is known of is None."""
    return {
        name: value if math.isfinite(value) else None for name, value in interval.as_dict().items()
    }


@dataclass(frozen=True)
class PairedCases:
    """The cases as they are, to which those of every variant are compared.

    Attributes:
        places: the place of each episode, in the order of ids.
        units: what each is not independent of.
    """

    places: Mapping[Key, int]
    units: Sequence[Unit]

    @classmethod
    def of(cls, outcomes: Iterable[CaseOutcome]) -> "PairedCases":
        """Those of the outcomes that count."""
        units = {(each.case, each.member): each.unit for each in outcomes if each.is_counted}
        keys = sorted(units)
        return cls({key: place for place, key in enumerate(keys)}, [units[key] for key in keys])

    def marks(
        self, variant: Variant, outcomes: Iterable[CaseOutcome], cases: Iterable[Case] = ()
    ) -> "Marks":
        """What became of the cases of a variant.

        Args:
            cases: those of the variant, where it matters what was answered to them.
        """
        options = {case.id: case.options for case in cases}
        ending = f"{MARK}{variant}"
        right = np.full(len(self.units), ABSENT, np.int8)
        said = np.zeros(len(self.units), np.int64)
        for each in outcomes:
            place = self.places.get((each.case.removesuffix(ending), each.member))
            if place is not None and each.is_counted:
                right[place] = each.verdict == "right"
                if each.answer is not None and each.case in options:
                    said[place] = _said(each.answer, options[each.case])
        return Marks(right, said)


@dataclass(frozen=True)
class Marks:
    """What became of the cases of one variant, in the order of the clean ones.

    Attributes:
        right: 1 right, 0 not right, `ABSENT` where the variant has no such case or it does not
            count.
        said: a hash of the answer, of a choice of the text of the option; 0 where there is none.
    """

    right: NDArray[np.int8]
    said: NDArray[np.int64]


def _said(answer: str, options: Sequence[str]) -> int:
    named = option_of(answer, options) if options else None
    return seed_of(normalised(answer if named is None else named)) or 1


def compared(
    variant: Variant,
    cases: PairedCases,
    clean: Marks,
    changed: Marks,
    *,
    unfit: int,
    seed: int = 0,
) -> VariantFigures | None:
    """The figures of one variant; None where no case of it could be played.

    Args:
        unfit: how many cases the variant does not fit.
    """
    both = np.flatnonzero((clean.right != ABSENT) & (changed.right != ABSENT))
    if not both.size:
        return None
    answered = both[clean.said[both] != 0]

    def rate(outcomes: NDArray[np.bool_], where: NDArray[np.int64]) -> Rate:
        return Rate.of(outcomes[where].tolist(), [cases.units[int(place)] for place in where])

    return VariantFigures(
        variant,
        rate(changed.right == 1, both),
        rate(clean.right == 1, both),
        difference(
            clean.right[both].astype(float).tolist(), changed.right[both].astype(float).tolist(),
            [cases.units[int(place)] for place in both], seed=seed,
        ),
        1.0,
        rate(clean.said == changed.said, answered),
        unfit,
    )  # fmt: skip


def adjusted(figures: Sequence[VariantFigures]) -> list[VariantFigures]:
    """The figures of all variants, with p adjusted over them."""
    values = holm([each.difference.permutation for each in figures])
    return [replace(each, adjusted=p) for each, p in zip(figures, values, strict=True)]
