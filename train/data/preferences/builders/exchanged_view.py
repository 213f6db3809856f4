"""The same words on the views that tools made against the same words on other views."""

from collections.abc import Iterator
from typing import ClassVar

from medgym.errors import unknown

from ..builder import Group, PairBuilder, PairSource
from ..exchange import with_images
from ..other_views import (
    another_patient,
    require_patients,
    views_of_another,
    views_of_elsewhere,
)
from ..pair import Pair
from ..right import right_episodes

OF = ("region", "patient")


class ExchangedViewPairs(PairBuilder):
    """Pairs that differ only in what the tools showed: the answer must rest on the look.

    Args:
        of: what stands in for a view: `region`, a place of the same extent without a finding, for
            views that show a gold region; or `patient`, the same place in another patient's image.
    """

    name: ClassVar[str] = "exchanged-view"

    def __init__(self, *, of: str = "region") -> None:
        if of not in OF:
            raise unknown(f"kind of {self.name}", of, OF)
        self._of = of

    def begin(self, source: PairSource) -> None:
        """See that there are two patients, where that is asked for."""
        if self._of == "patient":
            require_patients(self.name, source.cases)

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """A pair for each episode that looked and answered right."""
        case, rng = group.case, source.rng(self.name, group.case)
        for chosen in right_episodes(group.episodes):
            if not chosen.looks:
                continue
            if self._of == "region":
                images = views_of_elsewhere(chosen, case, source.image, rng)
                why = "the view against one of another region"
            else:
                other = another_patient(case, source.cases, rng)
                if other is None:
                    return
                images = views_of_another(chosen, case, other, "views", source.image)
                why = "the view against another patient's"
            yield Pair(chosen, with_images(chosen, images, source.keep), self.name, why)
