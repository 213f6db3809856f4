"""Prompts for the lesions of phantoms, and how well what is found fits them.

`python -m tests.tools.segment.phantoms` measures the back end `classical`.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgym.cases import Case, open_cases
from medgym.imaging.opened import ImagePlace, OpenedImage, opened_image
from medgym.imaging.study import Box
from medgym.sources.phantom.modalities import APPEARANCES
from medgym.sources.phantom.studies.settings import STUDY_LOOKS
from medgym.tools.segment.measure import Runs
from medgym.tools.segment.request import Segmentation, SegmentPrompt, SegmentRequest


@dataclass(frozen=True, eq=False)
class Lesion:
    """A lesion on one image of a phantom."""

    case: Case
    image: OpenedImage
    place: ImagePlace
    gold: NDArray[np.bool_]
    box_px: Box

    def request(self, prompt: SegmentPrompt) -> SegmentRequest:
        width, height = self.image.size(self.place)
        return SegmentRequest(
            self.image, self.place, (0.0, 0.0, float(width), float(height)), prompt
        )

    def dice(self, found: Segmentation | None) -> float:
        if found is None:
            return 0.0
        height, width = self.gold.shape
        mask = Runs.of(found).within((0, 0, width, height))
        return 2 * float((mask & self.gold).sum()) / float(mask.sum() + self.gold.sum())

    def box_prompt(self, chance: random.Random) -> SegmentPrompt:
        """The gold box, 10 to 40 % longer and moved as far as it still holds the lesion."""
        height, width = self.gold.shape
        edges = []
        for low, high, most in zip(self.box_px, self.box_px[2:], (width, height), strict=False):
            longer = (high - low) * chance.uniform(1.1, 1.4)
            start = (low + high - longer) / 2 + chance.uniform(-0.5, 0.5) * (longer - high + low)
            edges.append((max(0.0, np.floor(start)), min(float(most), np.ceil(start + longer))))
        (x0, x1), (y0, y1) = edges
        return SegmentPrompt(box_px=(float(x0), float(y0), float(x1), float(y1)))

    def point_prompt(self, chance: random.Random) -> SegmentPrompt:
        """A point in the lesion."""
        rows, columns = np.nonzero(self.gold)
        at = chance.randrange(len(rows))
        return SegmentPrompt(points_px=((columns[at] + 0.5, rows[at] + 0.5),), labels=(True,))


def lesions(spec: str) -> Iterator[Lesion]:
    """The last lesion of each case, on the middle one of its images."""
    for case in open_cases(spec):
        region = case.regions[-1]
        image = opened_image(case.images[region.image])
        plane = image.place.plane if region.plane is None else region.plane
        place = ImagePlace(plane, 0 if region.index is None else region.middle)
        assert region.mask is not None
        yield Lesion(case, image, place, region.mask.array(), region.box_px)


def main() -> None:
    """Print the median Dice of `classical` over 100 phantoms of each look, or of those named."""
    from statistics import mean, median

    from medgym.tools.segment.backends.classical import ClassicalSegmenter

    for look in sys.argv[1:] or (*APPEARANCES, *STUDY_LOOKS):
        found: dict[str, list[float]] = {"box": [], "point": []}
        for number, lesion in enumerate(lesions(f"phantom,look={look},question=kind:test[:100]")):
            chance = random.Random(number)
            prompts = lesion.box_prompt(chance), lesion.point_prompt(chance)
            results = ClassicalSegmenter().segment([lesion.request(each) for each in prompts])
            for kind, result in zip(found, results, strict=True):
                found[kind].append(lesion.dice(result))
        said = (
            f"{kind} {median(each):.3f} (mean {mean(each):.3f})" for kind, each in found.items()
        )
        print(look, *said, sep="  ", flush=True)


if __name__ == "__main__":
    main()
