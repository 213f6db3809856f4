"""Looked at the gold region against elsewhere or nowhere."""

from collections.abc import Iterator
from typing import ClassVar

from medgym.metrics.looking import hit
from medgym.trajectory import Trajectory

from ..builder import Group, PairBuilder, PairSource
from ..matching import is_readable, matched
from ..pair import Pair


class LookingPairs(PairBuilder):
    """Pairs of episodes of one case that showed a whole gold region with those that did not.

    Those that also answered right are preferred first. A case without gold regions has no pairs.
    """

    name: ClassVar[str] = "looking"
    needs: ClassVar[tuple[str, ...]] = ("groups", "regions")

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """The pairs of one case, those whose chosen episode answered right first."""
        hits = {id(each): hit(group.case, each) for each in group.episodes}
        looked = [each for each in group.episodes if hits[id(each)] and is_readable(each)]
        missed = [each for each in group.episodes if hits[id(each)] is False]
        rng = source.rng(self.name, group.case)
        made = [self._pair(*both) for both in matched(looked, missed, rng)]
        yield from sorted(made, key=lambda pair: not pair.chosen.correct)

    def _pair(self, chosen: Trajectory, rejected: Trajectory) -> Pair:
        where = "elsewhere" if rejected.looks else "nowhere"
        return Pair(chosen, rejected, self.name, f"looked at the gold region against {where}")
