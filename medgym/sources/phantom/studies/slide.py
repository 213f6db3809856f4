"""A phantom slide as a study: three levels, of which a region is drawn when it is asked for.

Level 1 is the picture: stained tissue, darker where the lesion is. Each of its pixels stands for a
square of four by four of level 0, whose mean is exactly that pixel: there lies fine detail, and in
the lesion the texture. So the kind shows only at level 0. Level 2 is the mean of level 1.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.imaging.imaging_study import ImagingStudy, Plane, Region
from medgym.imaging.rendering import Study
from medgym.imaging.slides.file import Level
from medgym.imaging.slides.image import LevelPixels, SlideImage
from medgym.imaging.slides.study import LEVEL
from medgym.seeds import seed_of
from medgym.sources.phantom.modalities import APPEARANCES, doubled, painting
from medgym.sources.phantom.rng import RandomStream
from medgym.sources.phantom.studies.plan import StudyPlan
from medgym.sources.phantom.studies.settings import SLIDE, STUDY_LOOKS
from medgym.sources.phantom.studies.signals import SIGNALS
from medgym.sources.phantom.studies.textures import tile, view_sizes

FACTOR = 4
"""Pixels of a level along a side of one of the next level: a square of the texture's grid."""

LEVELS = 3

PAINTED = 256
"""Side at which the tissue is painted."""

DETAIL = 10
"""Levels of grey by which detail differs from the mean of its square, at most."""

_SHEET = 1024

Pixels = NDArray[np.uint8]


class PhantomSlide(ImagingStudy):
    """The slide of a plan."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan.uri)
        self._drawn = DrawnSlide(plan)
        self.plan = plan

    @cached_property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`: one for each level, with one image."""
        found = {}
        for number, level in enumerate(self._drawn.levels):
            spacing = self.plan.spacing_mm * level.factor
            found[f"{LEVEL} {number}"] = Plane(1, level.size, (spacing, spacing), "patient")
        return found

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`. Nothing is drawn before it is shown."""
        self._check(plane, index)
        level = int(plane.removeprefix(LEVEL))
        file: Any = self._drawn  # read as a file's levels are
        pixels: Any = LevelPixels(file, level, region)
        modality = STUDY_LOOKS[self.plan.name.look].setting.modality
        image = SlideImage(pixels, self.planes[plane].spacing_mm, modality)
        return replace(image, view_sizes=None if level else view_sizes(self.plan.name.size))


class DrawnSlide:
    """What is read as a slide file is: the levels of a phantom slide, and regions of them."""

    def __init__(self, plan: StudyPlan) -> None:
        self.plan = plan
        self.path = Path(plan.uri)
        factors = [FACTOR**number for number in range(LEVELS)]
        sizes = [(plan.size // factor, plan.size // factor) for factor in factors]
        self.levels = tuple(
            Level(size, float(factor), float(factor))
            for size, factor in zip(sizes, factors, strict=True)
        )

    def read(
        self, level: int, x: int, y: int, width: int, height: int
    ) -> tuple[Pixels, tuple[float, float]]:
        """A region of a level as (height, width, 3), and its corner."""
        if level == 0:
            part = self._finest(x, y, x + width, y + height)
        else:
            part = _reduced(self.plan, level)[y : y + height, x : x + width]
        return part, (float(x), float(y))

    def _finest(self, x0: int, y0: int, x1: int, y1: int) -> Pixels:
        """A region of level 0: whole squares are drawn, and cut."""
        left, top = x0 // FACTOR, y0 // FACTOR
        right, bottom = -(-x1 // FACTOR), -(-y1 // FACTOR)
        means = _reduced(self.plan, 1)[top:bottom, left:right].astype(np.int16)
        values = np.repeat(np.repeat(means, FACTOR, axis=0), FACTOR, axis=1)
        change = _detail(self.plan.seed, left, top, right - left, bottom - top)
        for finding in self.plan.findings:
            block = self.plan.grid.block
            contrast = SIGNALS[SLIDE].contrast(self.plan)
            # The second tone of a texture is the darker one, as a stain is.
            texture = np.where(tile(finding.kind, self.plan.grid), -contrast, contrast)
            for column, row in finding.cells:
                down, within = _shared(row * block, block, top * FACTOR, bottom * FACTOR)
                across, inside = _shared(column * block, block, left * FACTOR, right * FACTOR)
                change[down, across] = texture[within, inside]
        values += change[:, :, None]
        rows, columns = (
            slice(first - start * FACTOR, end - start * FACTOR)
            for first, end, start in ((y0, y1, top), (x0, x1, left))
        )
        return values[rows, columns].astype(np.uint8)


def _shared(first: int, length: int, low: int, high: int) -> tuple[slice, slice]:
    """What of a block that begins at `first` lies in a range: counted from the start of the range,
    and from that of the block. Empty where it lies outside."""
    start = min(max(first, low), high)
    end = max(min(first + length, high), start)
    return slice(start - low, end - low), slice(start - first, end - first)


@lru_cache(maxsize=16)
def _reduced(plan: StudyPlan, level: int) -> Pixels:
    """Level 1 or 2."""
    if level > 1:
        finer = Image.fromarray(_reduced(plan, level - 1))
        return np.asarray(finer.reduce(FACTOR))
    rng = RandomStream(plan.seed)
    member, mirrored = rng.integer(0, APPEARANCES["histology"].paintings), rng.integer(0, 2) == 1
    sheet = painting("histology", PAINTED, plan.split, member, mirrored)
    spare, side = sheet.shape[0] - PAINTED, plan.size // FACTOR
    top, left = rng.integer(0, spare + 1), rng.integer(0, spare + 1)
    pixels = sheet[top : top + PAINTED, left : left + PAINTED]
    while pixels.shape[0] < side:
        pixels = doubled(pixels)
    contrast = SIGNALS[SLIDE].contrast(plan)
    # Room for the lesion, which darkens by `contrast`, and then for its tones and for detail.
    values = np.clip(pixels, 2 * contrast, 255 - DETAIL).astype(np.int16)
    block = plan.grid.block // FACTOR
    for finding in plan.findings:
        for column, row in finding.cells:
            values[row * block : (row + 1) * block, column * block : (column + 1) * block] -= (
                contrast
            )
    made = values.astype(np.uint8)
    made.flags.writeable = False
    return made


def _detail(seed: int, left: int, top: int, width: int, height: int) -> NDArray[np.int16]:
    """Detail of whole squares of level 0, whose sum in each square is 0."""
    rng = RandomStream(seed_of("phantom slide detail", seed))
    column, row = rng.integer(0, _SHEET // FACTOR), rng.integer(0, _SHEET // FACTOR)
    down = (np.arange(top * FACTOR, (top + height) * FACTOR) + row * FACTOR) % _SHEET
    across = (np.arange(left * FACTOR, (left + width) * FACTOR) + column * FACTOR) % _SHEET
    return _detail_sheet()[np.ix_(down, across)]


@lru_cache(maxsize=1)
def _detail_sheet() -> NDArray[np.int16]:
    half = RandomStream(seed_of("phantom slide detail")).bytes(_SHEET, _SHEET // 2)
    grey = (half % np.uint8(DETAIL + 1)).astype(np.int16)
    sheet = np.empty((_SHEET, _SHEET), np.int16)
    sheet[:, 0::2], sheet[:, 1::2] = grey, -grey
    return sheet
