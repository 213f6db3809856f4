"""The same words on the patient's images against the same words on another patient's."""

from collections.abc import Iterator
from typing import ClassVar

from ..builder import Group, PairBuilder, PairSource
from ..exchange import Which, read_which, with_images
from ..other_views import another_patient, require_patients, views_of_another
from ..pair import Pair
from ..right import right_episodes


class WrongImagePairs(PairBuilder):
    """The cross-modality pairs of MMed-RAG (arXiv 2410.13085): a reply must rest on its images.

    The rejected episode is the chosen one, shown what its calls would have shown of another
    patient, if possible of one with another right answer.

    Args:
        which: the images that are exchanged: `all`, `views` (made by tools), `overview`.
    """

    name: ClassVar[str] = "wrong-image"

    def __init__(self, *, which: str = "all") -> None:
        self._which: Which = read_which(self.name, which)

    def begin(self, source: PairSource) -> None:
        """See that there are two patients."""
        require_patients(self.name, source.cases)

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """A pair for each episode that answered right, each with another patient's images."""
        rng = source.rng(self.name, group.case)
        for chosen in right_episodes(group.episodes):
            other = another_patient(group.case, source.cases, rng)
            if other is None:
                return
            images = views_of_another(chosen, group.case, other, self._which, source.image)
            rejected = with_images(chosen, images, source.keep)
            yield Pair(chosen, rejected, self.name, "the images against another patient's")
