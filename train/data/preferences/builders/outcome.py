"""Right against wrong."""

from collections.abc import Iterator
from typing import ClassVar

from ..builder import Group, PairBuilder, PairSource
from ..matching import is_readable, matched
from ..pair import Pair


class OutcomePairs(PairBuilder):
    """Pairs of episodes of one case that answered right with those that did not.

    Args:
        margin: by how much the right one must have earned more; it must have earned more anyway.
        unreadable: whether an episode that is not right and has a reply that cannot be read counts
            as wrong; else it is in no pair. It is never the right one.
        alike: whether episodes meet that looked equally often and wrote about as much; else chance
            decides.
    """

    name: ClassVar[str] = "outcome"
    needs: ClassVar[tuple[str, ...]] = ("groups",)

    def __init__(self, *, margin: float = 0.0, unreadable: bool = True, alike: bool = True) -> None:
        self._margin = margin
        self._unreadable = unreadable
        self._alike = alike

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """The pairs of one case, those that are most alike first."""
        right = [each for each in group.episodes if each.correct and is_readable(each)]
        wrong = [
            each
            for each in group.episodes
            if not each.correct and (self._unreadable or is_readable(each))
        ]
        rng = source.rng(self.name, group.case)
        for chosen, rejected in matched(right, wrong, rng, alike=self._alike):
            why = "answers wrong" if is_readable(rejected) else "cannot be read"
            pair = Pair(chosen, rejected, self.name, f"answers right against {why}")
            if pair.margin > 0 and pair.margin >= self._margin:
                yield pair
