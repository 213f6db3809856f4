"""Another study in the frame of a case's own: its planes, its counts, its sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medgym.errors import UserError
from medgym.imaging.grey import LookupTable, Window, WindowFunction
from medgym.imaging.imaging_study import ImagingStudy, Plane, Region, part_of
from medgym.imaging.opened import ImagePlace, OpenedImage, Sent
from medgym.imaging.rendering import Study


class Stretched(ImagingStudy):
    """Shows another study where a case's own is asked for.

    A plane that the other has not is its first image's. An index is the one as far along the plane.
    Where the images differ in size, each pixel has the value of the pixel at its place.
    """

    def __init__(self, own: OpenedImage, other: OpenedImage) -> None:
        super().__init__("another case")
        self._own = own
        self._other = other

    def __reduce__(self) -> tuple[Any, ...]:
        return Stretched, (Sent(self._own), Sent(self._other))

    @property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`: those of the case's own study."""
        return self._own.planes

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`."""
        own = self.planes[plane]
        try:
            study = self._other.at(self._there(plane, index))
        except UserError as error:  # whose text names a file that is none of this case
            raise UserError(
                "an image of the other case cannot be read; fix: play that case, which says why"
            ) from error
        (wide, high), (width, height) = own.size, study.size
        if (wide, high) == (width, height):
            return part_of(replace(study, view_sizes=None), region)
        rows = (np.arange(high) * 2 + 1) * height // (2 * high)
        columns = (np.arange(wide) * 2 + 1) * width // (2 * wide)
        hidden = None if study.hidden is None else study.hidden[np.ix_(rows, columns)]
        stretched = replace(
            study,
            pixels=study.pixels[np.ix_(rows, columns)],
            spacing_mm=own.spacing_mm if own.spacing_origin == "patient" else None,
            pixel_aspect=None,
            calibrated=(),
            hidden=hidden,
            view_sizes=None,
        )
        return part_of(stretched, region)

    def windows(self, plane: str, index: int) -> tuple[Window | LookupTable, ...]:
        """See `ImagingStudy.windows`: the other's."""
        return self._other.windows(self._there(plane, index))

    def window_function(self, plane: str, index: int) -> WindowFunction:
        """See `ImagingStudy.window_function`: the other's."""
        return self._other.window_function(self._there(plane, index))

    def place_mm(self, plane: str, index: int) -> float | None:
        """See `ImagingStudy.place_mm`: that of the case's own, in whose frame it is shown."""
        return self._own.place_mm(ImagePlace(plane, index))

    def seconds(self, plane: str) -> Sequence[float] | None:
        """See `ImagingStudy.seconds`: those of the case's own."""
        return self._own.seconds(ImagePlace(plane))

    def _there(self, plane: str, index: int) -> ImagePlace:
        theirs = self._other.planes.get(plane)
        if theirs is None:
            return self._other.place
        return ImagePlace(plane, (2 * index + 1) * theirs.count // (2 * self.planes[plane].count))


def stretched(other: OpenedImage, own: OpenedImage) -> OpenedImage:
    """Another image where the case's own study has many."""
    study, place = Stretched(own, other), own.place
    if place.slab is None:
        start = study.image(place.plane, place.index)
    else:
        start = study.slab(place.plane, place.index, place.slab)
    return OpenedImage(study, place, replace(start, view_sizes=own.start.view_sizes))
