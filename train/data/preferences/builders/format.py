"""Readable against unreadable."""

from collections.abc import Iterator
from typing import ClassVar

from ..builder import Group, PairBuilder, PairSource
from ..matching import is_readable, matched
from ..pair import Pair


class FormatPairs(PairBuilder):
    """Pairs of episodes of one case whose replies could all be read with those of which one could
    not, or that gave no answer.

    Right ones are chosen first.
    """

    name: ClassVar[str] = "format"
    needs: ClassVar[tuple[str, ...]] = ("groups",)

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """The pairs of one case, those whose chosen episode answered right first."""
        readable = [each for each in group.episodes if is_readable(each)]
        unreadable = [each for each in group.episodes if not is_readable(each)]
        right = [each for each in readable if each.correct]
        count = max(len(right), len(unreadable))
        wrong = [each for each in readable if not each.correct][: count - len(right)]
        rng = source.rng(self.name, group.case)
        made = [
            Pair(chosen, rejected, self.name, f"can be read against {_why(rejected.faults)}")
            for chosen, rejected in matched(right + wrong, unreadable, rng)
        ]
        yield from sorted(made, key=lambda pair: not pair.chosen.correct)


def _why(faults: tuple[str, ...]) -> str:
    return f"cannot be read ({faults[0]})" if faults else "gives no answer"
