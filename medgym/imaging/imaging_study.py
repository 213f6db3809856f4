"""What everything with pixels has in common: planes, each with indices, read lazily.

A reader of a kind of file is an `ImagingStudy`. One plane at one index, decoded, is a `Study`: that
is what an episode shows, and what tools work on.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.errors import UserError
from medgym.imaging.grey import PRESETS, LookupTable, Window, WindowFunction, full_window
from medgym.imaging.limits import MAX_PIXELS
from medgym.imaging.rendering import Box, Study
from medgym.imaging.slabs import Slab, combined
from medgym.imaging.spacing import Origin, Spacing

Region = tuple[int, int, int, int]
"""(x0, y0, x1, y1) in whole pixels, origin top left, end exclusive."""

IMAGE = "image"
"""The plane of a single image."""

FRAME = "frame"
"""The plane of an image with several frames."""


@dataclass(frozen=True)
class Plane:
    """A stack of images of one size.

    Attributes:
        count: how many; they are numbered from 0.
        size: (width, height) in pixels.
        spacing_mm: millimetres per pixel as (row, column); None where it is unknown, or not the
            same for all.
        spacing_origin: where these millimetres are: at the patient, or at the detector or film.
            Lengths in the patient follow only from the first; None where the spacing is unknown.
    """

    count: int
    size: tuple[int, int]
    spacing_mm: Spacing | None = None
    spacing_origin: Origin | None = None


class ImagingStudy(ABC):
    """Something that has pixels, opened: an image, or a file of many.

    Pixels are read when they are asked for, and no more than that.

    Attributes:
        name: what errors call it, such as its path.
        of: the study whose images these are in another form; it says which one a reference means.
    """

    of: "ImagingStudy | None" = None

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def planes(self) -> Mapping[str, Plane]:
        """The planes by name. A single image has the plane `image` with one index, a file of
        several frames the plane `frame`."""

    @abstractmethod
    def decode(self, plane: str, index: int, region: Region) -> Study:
        """A region of an image, which exists, with the window in which the whole image is shown."""

    def windows(self, plane: str, index: int) -> tuple[Window | LookupTable, ...]:
        """The windows that the file itself has for an image, its first choice first."""
        self._check(plane, index)
        return ()

    def window_function(self, plane: str, index: int) -> WindowFunction:
        """The function of a window that is given as centre and width."""
        self._check(plane, index)
        return "LINEAR_EXACT"

    def image(self, plane: str, index: int, box_px: Box | None = None) -> Study:
        """An image as an episode has it, or the part of it that a box touches.

        Raises:
            UserError: there is no such plane, index or box, or the file cannot be read.
        """
        return self.decode(plane, index, self._region(plane, index, box_px))

    def slab(self, plane: str, index: int, slab: Slab, box_px: Box | None = None) -> Study:
        """Neighbouring images as one, or the part of it that a box touches.

        It is shown in the window that its images have. Where each has another, it is that of the
        middle image if the file gives it, else from the least to the greatest value of the slab.

        Raises:
            UserError: as `image` does.
        """
        region = self._region(plane, index, box_px)
        middle = self.decode(plane, index, region)
        windows: set[Window | LookupTable | None] = {middle.window}

        def images() -> Iterator[Study]:
            for each in slab.around(index, self.planes[plane].count):
                image = middle if each == index else self.decode(plane, each, region)
                windows.add(image.window)
                yield image

        made = combined(images(), middle, slab.how)
        if len(windows) == 1 or self.windows(plane, index):
            return made
        whole = 0, 0, *self.planes[plane].size
        if region != whole:
            return part_of(self.slab(plane, index, slab), region)
        inverted = middle.window is not None and middle.window.inverted
        return replace(made, window=full_window(made.pixels, made.hidden, inverted=inverted))

    def values(self, plane: str, index: int, box_px: Box | None = None) -> NDArray[np.float32]:
        """What the modality means by the pixels that a box touches: Hounsfield units, gray, ...

        Colours are (height, width, 3), all else is (height, width). Padding has the number that the
        file gives it (see `padding`). Each value is rounded to the nearest float32, which holds
        whole numbers up to 2^24 exactly; `image(...).pixels` has those beyond as float64.

        Raises:
            UserError: as `image` does, or a value is beyond all that float32 holds.
        """
        pixels = self.image(plane, index, box_px).pixels
        with np.errstate(over="ignore"):
            rounded = pixels.astype(np.float32)
        if pixels.dtype == np.float64 and not np.array_equal(np.isinf(rounded), np.isinf(pixels)):
            raise UserError(
                f"{self.name} has values beyond 3.4e38, the most that float32 holds; fix: take "
                "`image(...).pixels`"
            )
        return rounded

    def padding(self, plane: str, index: int, box_px: Box | None = None) -> NDArray[np.bool_]:
        """Which of the pixels that a box touches hold no measurement: padding, and what lies
        outside the shutter. They are shown black and count in no window."""
        study = self.image(plane, index, box_px)
        if study.hidden is None:
            return np.zeros(study.pixels.shape[:2], np.bool_)
        return np.array(study.hidden)

    def show(
        self,
        plane: str,
        index: int,
        box_px: Box | None = None,
        size: tuple[int, int] | None = None,
        window: Window | tuple[float, float] | str | None = None,
    ) -> Image.Image:
        """A region as a viewer shows it, as RGB.

        Args:
            size: (width, height) of the picture. Without it, each pixel of the file is one of the
                picture, except that pixels that are not square at the patient are drawn so: their
                longer side is enlarged.
            window: a window, (centre, width), or the name of a preset, such as "lung"; None for the
                file's own, or else from the least to the greatest value. What the file shows
                inverted stays inverted.

        Raises:
            UserError: as `image` does, or there is no such window or size.
        """
        x0, y0, x1, y1 = box_px = box_px or self._whole(plane, index)
        region = self._region(plane, index, box_px)
        study = self.decode(plane, index, region)
        if window is not None:
            study = shown_in(study, self.chosen_window(study, plane, index, window))
        if size is None:
            wide, high = study.true_size(x1 - x0, y1 - y0)
            size = max(1, round(wide)), max(1, round(high))
        if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
            raise UserError(
                f"no picture has {size[0]} x {size[1]} pixels; fix: name a size of 1 to "
                f"{MAX_PIXELS:,} pixels"
            )
        inner = (x0 - region[0], y0 - region[1], x1 - region[0], y1 - region[1])
        return study.render(inner, size)

    def _check(self, plane: str, index: int) -> Plane:
        found = self.planes.get(plane)
        if found is None:
            raise UserError(
                f"{self.name} has no plane {plane[:40]!r}; fix: name one of "
                f"{', '.join(self.planes)}"
            )
        if not 0 <= index < found.count:
            raise UserError(
                f"the plane {plane} of {self.name} has {found.count} image(s); fix: name one of "
                f"0..{found.count - 1}"
            )
        return found

    def _whole(self, plane: str, index: int) -> Box:
        width, height = self._check(plane, index).size
        return 0.0, 0.0, float(width), float(height)

    def _region(self, plane: str, index: int, box_px: Box | None) -> Region:
        width, height = self._check(plane, index).size
        if box_px is None:
            return 0, 0, width, height
        x0, y0, x1, y1 = box_px
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise UserError(
                f"the box does not lie in {self.name}, {width} x {height}; fix: write (x0, y0, x1, "
                "y1) in pixels, from the top left"
            )
        return math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)

    def chosen_window(
        self, study: Study, plane: str, index: int, given: Window | tuple[float, float] | str
    ) -> Window:
        """The window that is asked for, of a decoded image; errors as of `show`."""
        if study.window is None and study.pixels.ndim == 3:
            raise UserError(f"{self.name} has colours, and no window; fix: leave the window out")
        if isinstance(given, str):
            if given not in PRESETS:
                raise UserError(
                    f"no window is called {given[:40]!r}; fix: name one of {', '.join(PRESETS)}"
                )
            if study.unit != "HU":
                raise UserError(
                    f"{self.name} has no Hounsfield units, which the window {given} is made of; "
                    "fix: give centre and width"
                )
            chosen = PRESETS[given]
        elif isinstance(given, Window):
            chosen = given
        else:
            chosen = Window(given[0], given[1], self.window_function(plane, index))
        if not (math.isfinite(chosen.centre) and 0 < chosen.width < math.inf):
            raise UserError(
                f"({chosen.centre:g}, {chosen.width:g}) is no window; fix: give a finite centre "
                "and a width above 0"
            )
        return chosen

    def place_mm(self, plane: str, index: int) -> float | None:
        """Where an image lies along the patient's axis to which its plane is closest to being
        perpendicular: millimetres toward the left, back or head; None where this is unknown."""
        self._check(plane, index)
        return None

    def seconds(self, plane: str) -> Sequence[float] | None:
        """When each image of a plane is shown, in seconds from the first; None where this is
        unknown. They grow."""
        self._check(plane, 0)
        return None


def shown_in(study: Study, window: Window) -> Study:
    """A decoded image in another window. What the file shows inverted stays inverted."""
    inverted = study.window is not None and study.window.inverted
    return replace(study, window=replace(window, inverted=window.inverted != inverted))


class OneImage(ImagingStudy):
    """A study of one image that is decoded already, such as one that a source draws."""

    def __init__(self, name: str, study: Study) -> None:
        self._study = study
        super().__init__(name)

    @property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`."""
        spacing = self._study.spacing_mm
        origin: Origin | None = None if spacing is None else "patient"
        return {IMAGE: Plane(1, self._study.size, spacing, origin)}

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        return part_of(self._study, region)


def part_of(study: Study, region: Region) -> Study:
    """A region of a decoded image, shown as in the whole."""
    x0, y0, x1, y1 = region
    if region == (0, 0, *study.size):
        return study
    return replace(
        study,
        pixels=study.pixels[y0:y1, x0:x1],
        hidden=None if study.hidden is None else study.hidden[y0:y1, x0:x1],
        calibrated=tuple(
            ((left - x0, top - y0, right - x0, bottom - y0), spacing)
            for (left, top, right, bottom), spacing in study.calibrated
        ),
    )
