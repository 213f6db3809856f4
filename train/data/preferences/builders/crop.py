"""The same words on the images against the same words on crops of them."""

from collections.abc import Iterator
from typing import ClassVar

from ..builder import Group, PairBuilder, PairSource
from ..exchange import Which, exchanged_images, read_which, with_images
from ..pair import Pair
from ..right import right_episodes


class CropPairs(PairBuilder):
    """The conditional pairs of mDPO (arXiv 2406.11839), also called CoPO.

    The rejected episode is the chosen one, shown crops of 1 to 20 % of the area of its images.

    Args:
        which: the images that are cropped: `all`, `views` (made by tools), `overview`.
    """

    name: ClassVar[str] = "crop"

    def __init__(self, *, which: str = "all") -> None:
        self._which: Which = read_which(self.name, which)

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """A pair for each episode that answered right."""
        rng = source.rng(self.name, group.case)
        for chosen in right_episodes(group.episodes):
            images = exchanged_images(
                chosen, which=self._which, how="crop", image=source.image, rng=rng
            )
            rejected = with_images(chosen, images, source.keep)
            yield Pair(chosen, rejected, self.name, "the images against crops of them")
