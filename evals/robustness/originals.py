"""The cases of which variants are made, opened once for all of them."""

from functools import cached_property
from typing import NamedTuple
from weakref import WeakValueDictionary

from medgym.cases import Case, CaseList, normalised, open_cases
from medgym.metrics.counterfactual import unit_of
from medgym.seeds import seed_of


class _Summary(NamedTuple):
    """What decides which images can stand in for those of a case."""

    id: str
    modality: str | None
    images: int
    answer_type: str
    golds: frozenset[str]
    question: int
    group: tuple[str, str]


class Originals:
    """Cases, and what of them is asked for more than once.

    Args:
        cases: the cases.
    """

    def __init__(self, cases: CaseList) -> None:
        self.cases = cases

    @cached_property
    def summaries(self) -> tuple[_Summary, ...]:
        """The summary of each case."""
        return tuple(map(_summary, self.cases))

    @cached_property
    def partners(self) -> dict[int, int]:
        """For a case's place that of one of the same modality, with as many images, of another
        group, with other golds, and if there is one with the same question. The choice depends
        only on the ids."""
        alike: dict[tuple[object, ...], list[int]] = {}
        order = sorted(
            range(len(self.summaries)),
            key=lambda place: seed_of("exchange", self.summaries[place].id),
        )
        for place in order:
            each = self.summaries[place]
            if each.images:
                alike.setdefault((each.modality, each.images), []).append(place)
                alike.setdefault((each.modality, each.images, each.question), []).append(place)
        found: dict[int, int] = {}
        for circle in sorted(alike.values(), key=len):  # those of one question before the whole
            for at, place in enumerate(circle):
                if place not in found and (partner := self._partner(circle, at)) is not None:
                    found[place] = partner
        return found

    @cached_property
    def groups(self) -> frozenset[str]:
        """The groups that have images."""
        return frozenset(each.group[1] for each in self.summaries if each.images)

    def _partner(self, circle: list[int], at: int) -> int | None:
        own = self.summaries[circle[at]]
        for step in range(1, len(circle)):
            place = circle[(at + step) % len(circle)]
            other = self.summaries[place]
            if other.group != own.group and not other.golds & own.golds:
                return place
        return None


def _summary(case: Case) -> _Summary:
    return _Summary(
        case.id, case.modality, len(case.images), case.answer_type,
        frozenset(map(normalised, case.golds)), seed_of(normalised(case.question)),
        (case.source, unit_of(case)),
    )  # fmt: skip


_OPENED: WeakValueDictionary[tuple[str, int | None], Originals] = WeakValueDictionary()
"""Those in use, so that the variants of one set read its files once."""


def originals(spec: str, limit: int | None) -> Originals:
    """The cases that a spec names, the first ones where there is a limit.

    Raises:
        UserError: as `open_cases`.
    """
    found = _OPENED.get((spec, limit))
    if found is None:
        found = _OPENED[spec, limit] = Originals(open_cases(spec)[:limit])
    return found
