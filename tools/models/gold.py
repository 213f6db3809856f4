"""Gold as an expert tells it: whole, or with misses and false findings at a stated rate.

It is the same for every call on a case: the noise follows from the case's seed only. What the
question or the answer asks for is left out, and so is all from which it follows: where the label is
not told, no call can ask by label, and where a measure is not told, only the middle of a finding
is. Where the place or the number is asked, there is no gold at all (see `medgym.gold_tool`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from medgym.gold_tool import Gold
from medgym.imaging.study import Box
from medgym.regions import Region

from .asked import AskedRegion
from .findings import ExpertFinding

NOT_TOLD = "not told here"
"""How a tool says that it leaves out what the question asks."""

TRIES = 8
"""Places that are tried for a false finding; that which overlaps gold findings least is taken."""

USUAL = 0.15
"""The side of a false finding in an image without gold findings, as a share of the image's."""


@dataclass(frozen=True)
class Quality:
    """How good noised gold is.

    Attributes:
        sensitivity: the share of gold findings that are found.
        precision: the share of what is found that is gold, among images with gold findings. In an
            image without any there are as many false findings as in one with a single one.
    """

    sensitivity: float = 1.0
    precision: float = 1.0


class GoldFindings:
    """The findings of a case, with the errors of a quality.

    Args:
        labels: the kinds that a false finding may have beside those of the case itself.
    """

    def __init__(self, quality: Quality, labels: Sequence[str] = ()) -> None:
        self._quality = quality
        self._labels = tuple(labels)

    def of(
        self, asked: AskedRegion, gold: Gold, labels: Sequence[str] | None = None
    ) -> list[ExpertFinding]:
        """What is found where a call asks.

        Args:
            labels: only these, where kinds may be told.
        """
        regions = [region for region in self._regions(asked, gold) if lies_in(region, asked)]
        if labels and gold.tells("label"):
            wanted = {label.casefold() for label in labels}
            regions = [region for region in regions if region.label.casefold() in wanted]
        return [self._finding(region, gold) for region in regions]

    def _regions(self, asked: AskedRegion, gold: Gold) -> list[Region]:
        """The regions that are found on the whole case, false ones among them."""
        quality, given = self._quality, gold.regions
        if quality.sensitivity == 1.0 and quality.precision == 1.0:
            return list(given)
        random = np.random.default_rng([gold.seed, 0])
        kept = [region for region in given if random.random() < quality.sensitivity]
        wrong = (1 - quality.precision) / quality.precision
        count = int(random.poisson(wrong * quality.sensitivity * max(1, len(given))))
        kinds = sorted({*self._labels, *(region.label for region in given)} - {""}) or [""]
        for _ in range(count):
            label = kinds[int(random.integers(len(kinds)))]
            kept.append(_false(label, asked, gold, random))
        return [kept[place] for place in random.permutation(len(kept))]

    def _finding(self, region: Region, gold: Gold) -> ExpertFinding:
        """How sure it is says nothing of whether it is true: it is the precision of all."""
        label = region.label if gold.tells("label") else ""
        score = self._quality.precision
        x0, y0, x1, y1 = region.box_px
        if not gold.tells("size"):
            return ExpertFinding(label, score, None, ((x0 + x1) / 2, (y0 + y1) / 2))
        return ExpertFinding(label, score, region.box_px)


class GoldClasses:
    """Which kinds of findings a case has, with the errors of an accuracy.

    A label that is wrongly said to be there has a false finding somewhere, and one that is wrongly
    said not to be there has lost its own: no call on a part of the image gives the error away.

    Args:
        accuracy: the share of labels that are said rightly to be there or not.
        labels: the kinds that are known beside those of the case itself.
    """

    def __init__(self, accuracy: float, labels: Sequence[str] = ()) -> None:
        self._accuracy = accuracy
        self._labels = tuple(labels)

    def of(
        self, asked: AskedRegion, gold: Gold, labels: Sequence[str] | None = None
    ) -> list[ExpertFinding]:
        """Each label with how sure it is that it is there.

        Args:
            labels: what a call asks for; without it, all that are known.
        """
        known = {label.casefold(): label for label in self._labels}
        given = {label.casefold() for label in labels or self._labels}
        known |= {region.label.casefold(): region.label for region in gold.regions if region.label}
        if labels:
            known = {label.casefold(): known.get(label.casefold(), label) for label in labels}
        found = []
        for key, label in sorted(known.items()):
            regions = self._regions(key, label, asked, gold)
            if not (regions or key in given):
                continue  # that it is spoken of at all would tell that the case has it
            is_there = any(lies_in(region, asked) for region in regions)
            found.append(ExpertFinding(label, self._accuracy if is_there else 1.0 - self._accuracy))
        return found

    def _regions(self, key: str, label: str, asked: AskedRegion, gold: Gold) -> list[Region]:
        """The regions of a label on the whole case. The noise of a label is its own."""
        regions = [region for region in gold.regions if region.label.casefold() == key]
        if self._accuracy == 1.0:
            return regions
        word = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")
        random = np.random.default_rng([gold.seed, 1, word])
        if random.random() < self._accuracy:
            return regions
        return [] if regions else [_false(label, asked, gold, random)]


def _false(label: str, asked: AskedRegion, gold: Gold, random: np.random.Generator) -> Region:
    """A finding that is none: as large as a true one, beside those."""
    given = gold.regions
    like = given[int(random.integers(len(given)))] if given else _usual(asked, gold, random)
    opened = asked.workspace.images[like.image]
    width, height = opened.planes[like.plane or opened.place.plane].size
    wide, high = like.box_px[2] - like.box_px[0], like.box_px[3] - like.box_px[1]
    best, least = like.box_px, float("inf")
    for _ in range(TRIES):
        left = float(np.floor(random.random() * max(1.0, width - wide)))
        top = float(np.floor(random.random() * max(1.0, height - high)))
        box_px = left, top, min(left + wide, float(width)), min(top + high, float(height))
        overlap = sum(_shared(box_px, each.box_px) for each in given)
        if overlap < least:
            best, least = box_px, overlap
    return like.model_copy(update={"label": label, "box_px": best, "mask": None})


def _usual(asked: AskedRegion, gold: Gold, random: np.random.Generator) -> Region:
    """A region somewhere in a case without gold findings, of a usual size, where that is told."""
    images = asked.workspace.images
    image = int(random.integers(len(images)))
    opened = images[image]
    plane = opened.place.plane
    width, height = opened.planes[plane].size
    side = max(1.0, USUAL * min(width, height)) if gold.tells("size") else 1.0
    box_px = 0.0, 0.0, min(side, float(width)), min(side, float(height))
    if not opened.has_many:
        return Region(label="", box_px=box_px, image=image)
    index = int(random.integers(opened.planes[plane].count))
    return Region(label="", box_px=box_px, image=image, plane=plane, index=index)


def _shared(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, high)


def lies_in(region: Region, asked: AskedRegion) -> bool:
    """Whether a region lies, in part, on the image and in the box that a call asks about."""
    view = asked.view
    is_there = region.image == view.image and region.lies_on(view.plane, view.index)
    return is_there and _shared(region.box_px, asked.box_px) > 0
