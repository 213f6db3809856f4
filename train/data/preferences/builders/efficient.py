"""Right with fewer calls against right with more."""

from collections.abc import Iterator
from typing import ClassVar

from medgym.trajectory import Trajectory

from ..builder import Group, PairBuilder, PairSource
from ..matching import is_readable
from ..pair import Pair


class EfficientPairs(PairBuilder):
    """Pairs of episodes of one case that both answered right, the chosen one with fewer calls, or
    with as many calls in fewer replies.

    Where some episode of the group looked, one that answered without a look is not chosen: it
    guessed.
    """

    name: ClassVar[str] = "efficient"
    needs: ClassVar[tuple[str, ...]] = ("groups",)

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """The pairs of one case, those first that differ most."""
        rng = source.rng(self.name, group.case)
        right = [each for each in group.episodes if each.correct and is_readable(each)]
        right = [right[i] for i in rng.permutation(len(right))]
        looked = any(each.looks for each in group.episodes)
        short = sorted((each for each in right if each.looks or not looked), key=_cost)
        long = sorted(right, key=_cost, reverse=True)
        taken: set[int] = set()
        for chosen, rejected in zip(short, long, strict=False):
            if _cost(chosen) >= _cost(rejected) or taken & {id(chosen), id(rejected)}:
                return
            taken |= {id(chosen), id(rejected)}
            (calls, turns), (more, longer) = _cost(chosen), _cost(rejected)
            yield Pair(
                chosen,
                rejected,
                self.name,
                f"right with {calls} calls in {turns} replies against {more} in {longer}",
            )


def _cost(trajectory: Trajectory) -> tuple[int, int]:
    return len(trajectory.calls), trajectory.turns
