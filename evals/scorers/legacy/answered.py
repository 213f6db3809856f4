"""One answer, as the rules of published harnesses read it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from medgym.cases import Case


@dataclass(frozen=True)
class Answered:
    """A case and what a policy said of it.

    Attributes:
        text: what stands between `<answer>` and `</answer>`, or the whole last reply without them.
        right: medgym's own verdict by the lenient reading, which stands in for a judge.
    """

    case: Case
    text: str
    right: bool


def share(values: Iterable[float]) -> float:
    """The mean of values; 0 where there is none."""
    found: Sequence[float] = list(values)
    return fmean(found) if found else 0.0
