"""What a back end of `segment` is asked, and what it answers, in original pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medgym.gold_tool import Gold
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import Box

Binary = NDArray[np.bool_]
Point = tuple[float, float]

PromptKind = Literal["box", "points", "scribble", "text"]


@dataclass(frozen=True)
class SegmentPrompt:
    """Where a structure is, in original pixels, or what it is. One part or more is given.

    Attributes:
        box_px: a box around it, of whole pixels.
        points_px: (x, y) of points.
        labels: for each point whether it lies in the structure (else beside it).
        scribble_px: (x, y) of the corners of a line that lies in the structure.
        text: what the structure is, such as "liver".
    """

    box_px: Box | None = None
    points_px: tuple[Point, ...] = ()
    labels: tuple[bool, ...] = ()
    scribble_px: tuple[Point, ...] = ()
    text: str | None = None

    @property
    def kinds(self) -> tuple[PromptKind, ...]:
        """Which parts are given."""
        given: dict[PromptKind, object] = {
            "box": self.box_px,
            "points": self.points_px,
            "scribble": self.scribble_px,
            "text": self.text,
        }
        return tuple(kind for kind, value in given.items() if value)


@dataclass(frozen=True, eq=False)
class SegmentRequest:
    """One structure that is asked for, on one image.

    Attributes:
        image: the image, with all that its study has.
        place: the plane, the index, the slab and the window that the addressed view shows.
        view_px: the region that the view shows, in original pixels.
        prompt: where the structure is, or what it is.
        number: which of the case's images it is.
        gold: what a back end that `needs_gold` may know; of others it is empty.
        before: the structure on the neighbouring image, where it is followed through a volume.
    """

    image: OpenedImage
    place: ImagePlace
    view_px: Box
    prompt: SegmentPrompt
    number: int = 0
    gold: Gold = field(default_factory=Gold)
    before: "Segmentation | None" = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image in original pixels."""
        return self.image.size(self.place)

    def picture(self, box_px: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
        """A region as the view shows it, resampled: (height, width, 3). Only what lies under the
        box is read, also of a slide; it shrinks by area averages."""
        return np.asarray(self.image.render(self.place, box_px, size))

    @property
    def is_grey(self) -> bool:
        """Whether the three channels of `picture` are alike."""
        study = self.image.start
        return study.window is not None or study.pixels.ndim == 2

    def at(self, index: int) -> "SegmentRequest":
        """The same request on another image of the plane, without a slab."""
        return replace(self, place=replace(self.place, index=index, slab=None))


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A structure on one image.

    Attributes:
        region_px: the part of the image that the mask is of: whole original pixels.
        mask: (height, width) over the region: one entry for each original pixel, or fewer where
            the region was averaged down. At least one entry is true.
        score: how sure it is, 0 to 1.
    """

    region_px: Box
    mask: Binary
    score: float


@dataclass(frozen=True, eq=False)
class SegmentationThrough:
    """A structure through a volume: what was found on each image of the plane, by index."""

    images: Mapping[int, Segmentation]
    score: float = 1.0
