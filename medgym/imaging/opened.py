"""An image of a case, opened: what an episode starts with, and all else that a tool can reach.

A study of one image is decoded once. Of a study of many, those that were asked for last are kept;
the members of a group share them.
"""

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
from PIL import Image

from medgym.errors import ToolError, UserError
from medgym.imaging.grey import LookupTable, Window, WindowFunction
from medgym.imaging.imaging_study import (
    IMAGE,
    ImagingStudy,
    OneImage,
    Plane,
    part_of,
    shown_in,
)
from medgym.imaging.reach import KEPT, WHOLE
from medgym.imaging.rendering import Box, Study
from medgym.imaging.slabs import NoSlab, Slab
from medgym.imaging.spacing import Origin, Spacing
from medgym.imaging.study import ImageRef, decoded, open_study, start_of

Asked = TypeVar("Asked")


@dataclass(frozen=True)
class ImagePlace:
    """What a view shows of an image, beside its box.

    Attributes:
        plane, index: which of its images; a study of one has only `image` and 0.
        slab: with how many neighbours, and how; None for the one image.
        window: None for the file's own.
    """

    plane: str = IMAGE
    index: int = 0
    slab: Slab | None = None
    window: Window | None = None

    @property
    def image(self) -> tuple[str, int]:
        """The plane and the index."""
        return self.plane, self.index


class UnreadableImage(UserError):
    """An image of a case cannot be read.

    Of a study of which an episode shows other images, that is known only once a tool asks for it.
    The case fails then, and a run goes on.
    """


class OpenedImage:
    """One image of a case, and the study that it is of.

    Args:
        study: what it is of. None where that is opened when it is needed.
        place: where an episode starts.
        start: what is there, decoded.
        ref: by which another process opens the study.
        planes: those of the study, where they are known.

    Attributes:
        start: as the argument.
        planes: what views can show, by name.
        place: where an episode starts. In a study of one image it is `ImagePlace()`.
    """

    def __init__(
        self,
        study: ImagingStudy | None,
        place: ImagePlace,
        start: Study,
        ref: ImageRef | None = None,
        planes: Mapping[str, Plane] | None = None,
    ) -> None:
        self.start = start
        self.planes = planes or _planes(study, start)
        _SOURCES[self] = study, ref
        self._named = place
        self.place = place if self.has_many else ImagePlace()
        self._kept: OrderedDict[ImagePlace, Study] = OrderedDict()
        self._shapes: dict[tuple[str, int], Study] = {}
        self._reading = Lock()
        self._token = ""

    @classmethod
    def of(cls, given: "Study | OpenedImage") -> "OpenedImage":
        """An image that may be decoded already, with nothing beside it."""
        if isinstance(given, OpenedImage):
            return given
        return cls(OneImage("the image", given), ImagePlace(), given)

    @property
    def has_many(self) -> bool:
        """Whether there is more than the image that an episode starts with."""
        return sum(plane.count for plane in self.planes.values()) > 1

    @property
    def study(self) -> ImagingStudy:
        """What the image is of."""
        study, ref = _SOURCES[self]
        if study is None:
            if ref is None:
                raise UserError("a study is not here, only its first image; fix: open it again")
            study = open_study(ref)
            _SOURCES[self] = study, ref
        return study

    def size(self, place: ImagePlace) -> tuple[int, int]:
        """(width, height) of the image at a place; errors as of `checked`."""
        return self.planes[self.checked(place).plane].size

    def checked(self, place: ImagePlace) -> ImagePlace:
        """A place that exists.

        Raises:
            ToolError: it does not, or a window is asked for where there are colours, or a slab of
                images too large for one.
            UnreadableImage: it cannot be read whether there are colours.
        """
        plane = self.planes.get(place.plane)
        if plane is None:
            known = ", ".join(itertools.islice(self.planes, 8))
            raise ToolError(f"there is no plane {place.plane[:20]!r}; expected one of {known}")
        if not 0 <= place.index < plane.count:
            index, last = str(place.index)[:12], plane.count - 1
            raise ToolError(f"there is no index {index}; plane {place.plane} has 0 to {last}")
        width, height = plane.size
        is_slab = place.slab is not None and place != self.place and plane.count > 1
        if is_slab and width * height > WHOLE:
            raise ToolError(
                f"plane {place.plane} has {width} x {height} pixels, too many for a slab; "
                "expected one image"
            )
        if place.window is not None:
            _require_grey(self._shape(place))
        return place

    def at(self, place: ImagePlace) -> Study:
        """The decoded image at a place, with its window.

        Raises:
            ToolError: as `checked`, or the image is too large to be decoded whole.
            UnreadableImage: it cannot be read.
        """
        if place == self.place:
            return self.start
        width, height = self.size(place)
        if self._is_large(place):
            raise ToolError(
                f"plane {place.plane} has {width} x {height} pixels, too many for this tool; "
                "expected a view of another plane"
            )
        with self._reading:  # all who want the same image wait for one reading of it
            return self._held(place)

    def render(self, place: ImagePlace, box_px: Box, size: tuple[int, int]) -> Image.Image:
        """A region of the image at a place, as `Study.render` gives it."""
        if self._is_large(place):
            named = self._name(place)
            return self._asked(lambda study: study.show(*named, box_px, size, place.window))
        return self.at(place).render(box_px, size)

    def region(self, place: ImagePlace, box_px: Box) -> Study:
        """The part of the image at a place that a box touches, decoded, with its window.

        Of an image too large to be decoded whole, only that part is read.

        Raises:
            ToolError: as `checked`, or the part is too large itself.
            UnreadableImage: it cannot be read.
        """
        x0, y0, x1, y1 = box_px
        region = math.floor(x0), math.floor(y0), math.ceil(x1), math.ceil(y1)
        wide, high = region[2] - region[0], region[3] - region[1]
        if wide * high > WHOLE:
            raise ToolError(
                f"a region of {wide} x {high} pixels has too many for this tool; expected less"
            )
        if not self._is_large(place):
            return part_of(self.at(place), region)
        named = self._name(self.checked(place))
        study = self._asked(lambda study: study.image(*named, box_px))
        return study if place.window is None else shown_in(study, place.window)

    def spacing(self, place: ImagePlace, box_px: Box) -> tuple[Spacing | None, Origin | None]:
        """Millimetres per pixel as (row, column) within a box, and where they are; None where that
        is unknown. Only those of origin `patient` are lengths of the patient."""
        known = self._shape(self.checked(place)).spacing_in(box_px)
        if known is not None:
            return known, "patient"
        plane, _ = self._name(place)
        said = self._asked(lambda study: study.planes[plane])
        if said.spacing_origin == "patient":  # in other parts of the image
            return None, None
        return said.spacing_mm, said.spacing_origin

    def aspect(self, place: ImagePlace) -> float:
        """The height of a pixel divided by its width, at the patient; 1 where this is unknown."""
        shape = self._shape(self.checked(place))
        if shape.pixel_aspect is not None:
            return shape.pixel_aspect
        return shape.spacing_mm[0] / shape.spacing_mm[1] if shape.spacing_mm else 1.0

    def true_size(self, place: ImagePlace, box_px: Box) -> tuple[float, float]:
        """The sides of a region, as `Study.true_size` gives them."""
        width, height = box_px[2] - box_px[0], box_px[3] - box_px[1]
        return self._shape(place).true_size(width, height)

    def _shape(self, place: ImagePlace) -> Study:
        """What an image says of itself; elsewhere than at the start it has a single pixel."""
        if place.image == self.place.image:
            return self.start
        shape = self._shapes.get(place.image)
        if shape is None:
            plain = replace(place, window=None)
            if self._is_large(plain):
                named = self._name(plain)
                shape = self._asked(lambda study: study.image(*named, (0.0, 0.0, 1.0, 1.0)))
            else:
                shape = self.at(plain)
            one = np.zeros((1, 1, *shape.pixels.shape[2:]), shape.pixels.dtype)
            shape = self._shapes[place.image] = replace(shape, pixels=one, hidden=None)
        return shape

    def place_mm(self, place: ImagePlace) -> float | None:
        """Where the image at a place lies, see `ImagingStudy.place_mm`."""
        named = self._name(self.checked(place))
        return self._asked(lambda study: study.place_mm(*named))

    def seconds(self, place: ImagePlace) -> Sequence[float] | None:
        """When each image of a plane is shown, see `ImagingStudy.seconds`."""
        plane, _ = self._name(self.checked(place))
        return self._asked(lambda study: study.seconds(plane))

    def index_at(self, plane: str, mm: float) -> int:
        """The index of the image of a plane that lies closest to a place in millimetres.

        Raises:
            ToolError: there is no such plane, its place is unknown, or no image lies there.
        """
        first = self.checked(ImagePlace(plane))
        last = replace(first, index=self.planes[plane].count - 1)
        low, high = self.place_mm(first), self.place_mm(last)
        if low is None or high is None:
            raise ToolError(f"plane {plane} has no place in millimetres; expected index")
        step = (high - low) / last.index if last.index else 1.0
        index = (mm - low) / step if step else 0.0
        if not -0.5 <= index <= last.index + 0.5:
            raise ToolError(f"{mm:g} mm lies outside; plane {plane} has {low:.1f} to {high:.1f} mm")
        return min(max(round(index), 0), last.index)

    def windows(self, place: ImagePlace) -> tuple[Window | LookupTable, ...]:
        """The windows of the file itself, see `ImagingStudy.windows`."""
        return self._asked(lambda study: study.windows(*self._name(place)))

    def window_function(self, place: ImagePlace) -> WindowFunction:
        """The function of a window that is asked for, see `ImagingStudy.window_function`."""
        return self._asked(lambda study: study.window_function(*self._name(place)))

    def _asked(self, ask: Callable[[ImagingStudy], Asked]) -> Asked:
        try:
            return ask(self.study)
        except NoSlab as error:
            raise ToolError(f"{error}; expected one image") from error
        except UserError as error:
            raise UnreadableImage(str(error)) from error

    def _name(self, place: ImagePlace) -> tuple[str, int]:
        """What the study calls the image at a place."""
        named = place if self.has_many else self._named
        return named.plane, named.index

    def _is_large(self, place: ImagePlace) -> bool:
        if place == self.place:
            return False
        width, height = self.size(place)
        return width * height > WHOLE

    def _held(self, place: ImagePlace) -> Study:
        study = self.start if place == self.place else self._kept.get(place)
        if study is None:
            study = self._kept[place] = self._read(place)
        elif place in self._kept:
            self._kept.move_to_end(place)
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > KEPT:
            self._kept.popitem(last=False)
        return study

    def _read(self, place: ImagePlace) -> Study:
        if place.window is not None:
            study = self._held(replace(place, window=None))
            _require_grey(study)
            return shown_in(study, place.window)
        slab = place.slab
        if slab is not None:
            return self._asked(lambda study: study.slab(*self._name(place), slab))
        return self._asked(lambda study: study.image(*self._name(place)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A workspace that is written somewhere must not name its files: see `Sent`.
        study, ref = _SOURCES[self]
        return self._packed(study if ref is None else None, None)

    def _packed(self, study: ImagingStudy | None, ref: ImageRef | None) -> tuple[Any, ...]:
        with _unpacking:
            self._token = self._token or uuid4().hex
            _UNPACKED[self._token] = self
        return _unpacked, (self._token, study, self._named, self.start, ref, self.planes)


class Sent:
    """An opened image on its way to another process of medgym, where it arrives as itself.

    The pixels of the first image travel. The other process reads the others from the file, once for
    all its episodes.
    """

    def __init__(self, image: OpenedImage) -> None:
        self._image = image

    def __reduce__(self) -> tuple[Any, ...]:
        study, ref = _SOURCES[self._image]
        return self._image._packed(study if ref is None else None, ref)


_SOURCES: WeakKeyDictionary[OpenedImage, tuple[ImagingStudy | None, ImageRef | None]] = (
    WeakKeyDictionary()
)
"""The studies of opened images, and what names them. A file's name can be gold, such as
pneumonia_12.dcm, so a workspace, and whatever a policy is shown, leads to none."""

_UNPACKED: WeakValueDictionary[str, OpenedImage] = WeakValueDictionary()
_unpacking = Lock()


def _unpacked(token: str, *given: Any) -> OpenedImage:
    """What another process sent, once for each token."""
    with _unpacking:
        found = _UNPACKED.get(token)
        if found is None:
            found = _UNPACKED[token] = OpenedImage(*given)
            found._token = token
        return found


def opened_image(ref: ImageRef, study: ImagingStudy | None = None) -> OpenedImage:
    """Open the image that `ref` names, with all that can be reached from it. Where it names none of
    several, an episode starts as `start_of` says.

    Args:
        study: what `ref` opens, where it is open already.

    Raises:
        UserError: as `open_image` does.
    """
    study = study or open_study(ref)
    plane, index = start_of(study, ref)
    start = decoded(study, ref, (plane, index))
    if isinstance(study, OneImage):
        return OpenedImage.of(start)
    return OpenedImage(study, ImagePlace(plane, index, ref.slab), start, ref)


def _planes(study: ImagingStudy | None, start: Study) -> Mapping[str, Plane]:
    """The planes of a study. That of a study of one image is called `image` whatever the study
    calls it, and is known without reading the file again."""
    if study is not None and getattr(study, "frames", 0) != 1 and not isinstance(study, OneImage):
        planes = study.planes
        if sum(plane.count for plane in planes.values()) > 1:
            return planes
    return {IMAGE: Plane(1, start.size, start.spacing_mm, "patient" if start.spacing_mm else None)}


def _require_grey(study: Study) -> None:
    if study.window is None and study.pixels.ndim == 3:
        raise ToolError("the image has colours, and no window; expected a view of grey values")


def _bytes(study: Study) -> int:
    return study.pixels.nbytes + (0 if study.hidden is None else study.hidden.nbytes)
