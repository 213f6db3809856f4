"""Another study in the frame of a case's own: its planes, its counts, its sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.errors import UserError
from medgym.imaging.grey import LookupTable, Window, WindowFunction
from medgym.imaging.imaging_study import ImagingStudy, Plane, Region, part_of
from medgym.imaging.opened import ImagePlace, OpenedImage, Sent
from medgym.imaging.reach import WHOLE
from medgym.imaging.rendering import Box, Study
from medgym.imaging.spacing import Spacing


class Stretched(ImagingStudy):
    """Shows another study where a case's own is asked for.

    A plane that the other has not is its first image's. An index is the one as far along the plane.
    Where the images differ in size, each pixel has the value of the pixel at its place. Of one too
    large to be decoded whole, such as a slide, this is done as it is read.
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
        spacing = own.spacing_mm if own.spacing_origin == "patient" else None
        if not isinstance(study.pixels, np.ndarray) or wide * high > WHOLE:
            return _views(study, own.size, region, spacing)
        rows = (np.arange(high) * 2 + 1) * height // (2 * high)
        columns = (np.arange(wide) * 2 + 1) * width // (2 * wide)
        hidden = None if study.hidden is None else study.hidden[np.ix_(rows, columns)]
        stretched = replace(
            study,
            pixels=study.pixels[np.ix_(rows, columns)],
            spacing_mm=spacing,
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


class _StretchedPixels:
    """Pixels of a region of an image that is stretched to a size, read when they are asked for:
    `pixels[y0:y1, x0:x1]`.

    Args:
        of: the pixels before. size: (width, height) to which all of them are stretched. region: of
            the stretched ones.
    """

    def __init__(self, of: NDArray[Any], size: tuple[int, int], region: Region) -> None:
        x0, y0, x1, y1 = region
        self._of, self._whole, self._start = of, (size[1], size[0]), (y0, x0)
        self.shape = (y1 - y0, x1 - x0, *of.shape[2:])
        self.ndim, self.dtype = of.ndim, of.dtype
        self.size = int(np.prod(self.shape))
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return int(self.shape[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def astype(self, dtype: Any) -> NDArray[Any]:
        """All pixels as an array of that type."""
        return self[:].astype(dtype)

    def tobytes(self) -> bytes:
        """All pixels, row by row."""
        return self[:].tobytes()

    def __getitem__(self, key: Any) -> NDArray[Any]:
        given = (*key, slice(None), slice(None)) if isinstance(key, tuple) else (key, slice(None))
        rows, columns = (self._read_at(side, given[side]) for side in (0, 1))
        if not rows.size or not columns.size:
            return np.zeros((rows.size, columns.size, *self.shape[2:]), self.dtype)
        (top, bottom), (left, right) = ((at.min(), at.max() + 1) for at in (rows, columns))
        read = np.asarray(self._of[top:bottom, left:right])
        return read[np.ix_(rows - top, columns - left)]

    def _read_at(self, side: int, given: slice) -> NDArray[np.int64]:
        """Where the pixels of a range of rows or columns come from."""
        wanted = np.arange(self.shape[side])[given] + self._start[side]
        found: NDArray[np.int64] = (
            (wanted * 2 + 1) * self._of.shape[side] // (2 * self._whole[side])
        )
        return found


@dataclass(frozen=True, eq=False)
class _StretchedViews(Study):
    """A region of an image that is stretched to a size. Each view of it is drawn by the image
    itself.

    Attributes:
        of: the image. scale: its width and height divided by those to which it is stretched.
        start: where the region begins.
    """

    of: Study | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    start: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """The image was checked itself."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def render(self, box_px: Box, size: tuple[int, int]) -> Image.Image:
        """See `Study.render`."""
        assert self.of is not None, "these are views of an image"
        (left, top), (across, down) = self.start, self.scale
        x0, y0, x1, y1 = box_px
        there = (x0 + left) * across, (y0 + top) * down, (x1 + left) * across, (y1 + top) * down
        of = self.of if self.window == self.of.window else replace(self.of, window=self.window)
        return of.render(there, size)


def _views(study: Study, size: tuple[int, int], region: Region, spacing: Spacing | None) -> Study:
    """A region of an image that is stretched to a size, of which nothing is read yet."""
    pixels: Any = _StretchedPixels(study.pixels, size, region)
    kept = {each.name: getattr(study, each.name) for each in fields(Study)}
    kept |= {
        "pixels": pixels, "spacing_mm": spacing, "pixel_aspect": None, "calibrated": (),
        "hidden": None, "view_sizes": None,
    }  # fmt: skip
    scale = study.size[0] / size[0], study.size[1] / size[1]
    return _StretchedViews(**kept, of=study, scale=scale, start=region[:2])
