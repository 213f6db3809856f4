"""Right words on the images against wrong words on images whose gold regions are noise."""

from collections.abc import Iterator
from typing import ClassVar

from medgym.errors import UserError

from ..builder import Group, PairBuilder, PairSource
from ..exchange import XI, Which, exchanged_images, read_which, with_images
from ..matching import is_readable, matched
from ..pair import Pair


class LesionNoisePairs(PairBuilder):
    """The visual pairs of MMedPO (arXiv 2412.06141), with gold regions in place of its heat maps.

    A pair whose rejected episode shows no gold region would only be one of right and wrong words:
    it is dropped.

    Args:
        which: the images that are noised: `all`, `views` (made by tools), `overview`.
        xi: how much of a region's own light is left, from 0 up to 1.
    """

    name: ClassVar[str] = "lesion-noise"
    needs: ClassVar[tuple[str, ...]] = ("groups", "regions")

    def __init__(self, *, which: str = "all", xi: float = XI) -> None:
        if not 0 <= xi < 1:
            raise UserError(f"{self.name} has xi = {xi:g}; fix: at least 0 and below 1")
        self._which: Which = read_which(self.name, which)
        self._xi = xi

    def pairs(self, group: Group, source: PairSource) -> Iterator[Pair]:
        """Pairs of right and wrong episodes, the most alike first."""
        case, rng = group.case, source.rng(self.name, group.case)
        read = [each for each in group.episodes if is_readable(each)]
        right, wrong = ([e for e in read if e.correct == correct] for correct in (True, False))
        for chosen, other in matched(right, wrong, rng):
            images = exchanged_images(
                other, which=self._which, how="noise", case=case, image=source.image, rng=rng,
                xi=self._xi,
            )  # fmt: skip
            # Without noise the pair is one of identical episodes, which is dropped and counted.
            rejected = with_images(other, images, source.keep) if images else chosen
            yield Pair(chosen, rejected, self.name, "right against wrong with noise in the lesion")
