"""The numbered views of an episode, each mapped to the original pixels.

An episode starts with one view for each image. A tool that shows something adds a view, and earlier
views stay addressable. Every view is rendered from the original pixels, within `view_size`. The
workspace holds no gold: it is what tools, and through them a policy, may know. A name can be gold
too, such as the file name pneumonia_12.png, so it holds only hashes of ids, groups and URIs.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from hashlib import blake2b
from typing import Literal

from PIL import Image

from medgym.errors import ToolError, UserError
from medgym.failures import ContractError
from medgym.imaging.boxes import checked_box, whole_pixels
from medgym.imaging.grey import Window
from medgym.imaging.lazy_image import Picture
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.slabs import Slab
from medgym.imaging.study import Box, Study
from medgym.shared_pictures import shared_picture

Coordinates = Literal["thousandths", "pixel"]

MAX_ASPECT = 16
"""The greatest ratio of a rendered view's sides. A sliver is stretched to it, because image
processors refuse slivers (Qwen-VL's from a ratio of 200) and no request of a policy may raise."""


START = ImagePlace()


class View:
    """One picture that the policy was shown. A view does not change.

    Attributes:
        number: how calls address it; -1 before the episode has numbered it.
        image: which of the case's images it comes from.
        box_px: the region of that image that it shows, in original pixels. Together with the size
            of the picture this is the affine map from the view to the original.
        shown: the picture, RGB, at most `view_size` on each side, drawn when its pixels are needed.
        made_by: the tool that made it; None for the views that an episode starts with.
        place: the plane, the index, the slab and the window that it shows.
    """

    def __init__(
        self,
        number: int,
        image: int,
        box_px: Box,
        picture: Image.Image | Picture,
        made_by: str | None = None,
        place: ImagePlace = START,
    ) -> None:
        self.number = number
        self.image = image
        self.box_px = box_px
        self.shown = Picture.of(picture)
        self.made_by = made_by
        self.place = place

    @property
    def plane(self) -> str:
        """The plane that it shows; `image` of a study of one image."""
        return self.place.plane

    @property
    def index(self) -> int:
        """Which image of the plane it shows, from 0."""
        return self.place.index

    @property
    def slab(self) -> Slab | None:
        """The slab that it shows; None for one image."""
        return self.place.slab

    @property
    def window(self) -> Window | None:
        """The window that it was asked for; None for the file's own."""
        return self.place.window

    @property
    def picture(self) -> Image.Image:
        """The pixels. A tool may draw on them; it changes a copy of its own."""
        return self.shown.own_image

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture."""
        return self.shown.size

    def to_px(self, box: Sequence[float], scale: tuple[float, float] = (1000.0, 1000.0)) -> Box:
        """A box of this view, whose sides measure `scale`, in original pixels (not rounded)."""
        x0, y0, x1, y1 = self.box_px
        across, down = (x1 - x0) / scale[0], (y1 - y0) / scale[1]
        return (
            x0 + box[0] * across,
            y0 + box[1] * down,
            x0 + box[2] * across,
            y0 + box[3] * down,
        )

    def from_px(
        self, box_px: Sequence[float], scale: tuple[float, float] = (1000.0, 1000.0)
    ) -> Box:
        """The inverse of `to_px`: original pixels in this view's coordinates (not clipped)."""
        x0, y0, x1, y1 = self.box_px
        across, down = scale[0] / (x1 - x0), scale[1] / (y1 - y0)
        return (
            (box_px[0] - x0) * across,
            (box_px[1] - y0) * down,
            (box_px[2] - x0) * across,
            (box_px[3] - y0) * down,
        )


class Workspace:
    """The images of an episode and the views of them that exist so far.

    Attributes:
        images: the case's images, each with the planes and indices that can be reached from it.
        view_size: the greatest side of a view, in pixels.
        view_multiple: each side of a view is a multiple of so many pixels.
        coordinates: what boxes in calls are measured in: thousandths of the view, or view pixels.

    Args:
        names: the names of the case: its id, its group, where its images are. A tool that must not
            return the case that is played asks `is_named`.
    """

    def __init__(
        self,
        studies: Sequence[Study | OpenedImage],
        *,
        view_size: int = 448,
        view_multiple: int = 1,
        coordinates: Coordinates = "thousandths",
        names: Sequence[str] = (),
    ) -> None:
        self.images = tuple(OpenedImage.of(study) for study in studies)
        self.view_size = view_size
        self.view_multiple = view_multiple
        self.coordinates: Coordinates = coordinates
        self._names = frozenset(_hash(name) for name in names if name)
        self._views: list[View] = []
        for image, study in enumerate(self.studies):
            if study.view_sizes is not None and view_size not in study.view_sizes:
                allowed = ", ".join(map(str, study.view_sizes))
                case = names[0] if names else "this image"
                raise UserError(
                    f"{case} may be shown whole only at a view_size of {allowed}, not "
                    f"{view_size}: at others its overview would give away what a tool is to find"
                )
            width, height = study.size
            box_px = (0.0, 0.0, float(width), float(height))
            self.add(self.look(image, box_px, enlarge=False, made_by=None))

    @property
    def studies(self) -> tuple[Study, ...]:
        """The decoded images with which the episode starts, in the case's order."""
        return tuple(image.start for image in self.images)

    def study(self, view: View) -> Study:
        """The decoded image of which a view is, in the view's window: for a tool that measures.

        Raises:
            ToolError: it is too large to be decoded whole.
            UserError: it cannot be read.
        """
        return self.images[view.image].at(view.place)

    def show(
        self,
        image: int,
        box_px: Box,
        *,
        plane: str | None = None,
        index: int | None = None,
        slab: Slab | None = None,
        window: Window | None = None,
    ) -> View:
        """Add a view of a region that the episode starts with, enlarged as by the tool `zoom`.

        Args:
            plane, index, slab, window: as of `look`.

        Raises:
            ValueError: no such image, or a box that is empty or reaches outside it.
            ToolError: no such place.
        """
        if not 0 <= image < len(self.images):
            raise ValueError(f"there is no image {image}")
        place = self.place(image, plane, index, slab, window)
        box_px = checked_box(box_px, image, self.images[image].size(place))
        view = self.look(image, box_px, enlarge=True, made_by=None, **vars(place))
        return self.add(view)

    def place(
        self,
        image: int,
        plane: str | None = None,
        index: int | None = None,
        slab: Slab | None = None,
        window: Window | None = None,
    ) -> ImagePlace:
        """The place that is meant: without plane and index, that with which the episode starts.

        Raises:
            ToolError: there is no such plane or index, or no window for colours.
        """
        opened = self.images[image]
        place = opened.place
        if plane is not None or index is not None:
            plane = place.plane if plane is None else plane
            if index is None:
                opened.checked(ImagePlace(plane))
                last = opened.planes[plane].count - 1
                if plane != place.plane and last > 0:
                    raise ToolError(f"plane {plane} needs an index; it has 0 to {last}")
                index = place.index if plane == place.plane else 0
            place = ImagePlace(plane, index, slab)
        if window is not None:
            place = replace(place, window=window)
        return place if place == opened.place else opened.checked(place)

    def is_named(self, name: str | None) -> bool:
        """Whether this names the case that is played: its id, its group, or where an image is."""
        return name is not None and _hash(name) in self._names

    @property
    def names_hash(self) -> frozenset[bytes]:
        """The hashes of the names of the case, by which `is_named` knows it."""
        return self._names

    @property
    def views(self) -> tuple[View, ...]:
        """All views, by number."""
        return tuple(self._views)

    def add(self, view: View, made_by: str | None = None) -> View:
        """Number a view and keep it. The episode adds the views that a tool returns.

        Args:
            made_by: the tool that made it, where the view does not say.

        Raises:
            ContractError: it is no view, of no image of the case, of no plane or index of it, of a
                box that is empty or reaches outside its image, or of pixels of another form or size
                than a view may have.
        """
        given: object = view
        if not isinstance(given, View):
            raise ContractError(f"made a {type(given).__name__}; expected a View")
        last = len(self.images) - 1
        if not isinstance(view.image, int) or not 0 <= view.image <= last:
            image = str(view.image)[:40]
            raise ContractError(f"made a view of image {image}; expected 0 to {last}")
        fits = min(view.size) > 0 and max(view.size) <= self.view_size
        if not fits or view.shown.mode != "RGB":
            raise ContractError(
                f"made a view of {view.size}, {view.shown.mode}; a view is RGB and has 1 to "
                f"{self.view_size} pixels a side"
            )
        try:
            size = self.images[view.image].size(view.place)
            box_px = checked_box(view.box_px, view.image, size)
        except (ContractError, ToolError) as error:
            raise ContractError(f"made an impossible view: {error}") from error
        made_by = made_by if view.made_by is None else str(view.made_by)
        number = len(self._views)
        numbered = View(number, int(view.image), box_px, view.shown, made_by, view.place)
        self._views.append(numbered)
        return numbered

    def copy(self, views: int) -> "Workspace":
        """A workspace of the same images and the first so many views, which has its own life."""
        made = copy(self)
        made._views = self._views[:views]
        return made

    def view(self, number: int) -> View:
        """The view of that number; `ToolError` if there is none."""
        if not 0 <= number < len(self._views):
            last = len(self._views) - 1
            raise ToolError(f"there is no view {str(number)[:12]}; expected 0 to {last}")
        return self._views[number]

    def scale(self, view: View) -> tuple[float, float]:
        """The width and height of a view in the coordinates of calls."""
        if self.coordinates == "thousandths":
            return 1000.0, 1000.0
        return float(view.size[0]), float(view.size[1])

    def box_px(self, number: int, box: Sequence[float]) -> Box:
        """A box of a call as whole original pixels, at least one on each side.

        Raises:
            ToolError: no such view, or a box that is empty or reaches outside the view.
        """
        view = self.view(number)
        across, down = self.scale(view)
        inside = len(box) == 4 and 0 <= box[0] < box[2] <= across and 0 <= box[1] < box[3] <= down
        if not inside:
            given = ", ".join(f"{value:g}"[:12] for value in box[:4])
            raise ToolError(
                f"the box [{given}] does not lie in view {number}; expected [x0, y0, x1, y1] with "
                f"0 <= x0 < x1 <= {across:g} and 0 <= y0 < y1 <= {down:g}"
            )
        x0, y0, x1, y1 = view.to_px(box, (across, down))
        left, right = whole_pixels(x0, x1, view.box_px[0], view.box_px[2])
        top, bottom = whole_pixels(y0, y1, view.box_px[1], view.box_px[3])
        return left, top, right, bottom

    def point_px(self, number: int, point: Sequence[float]) -> tuple[float, float]:
        """A point of a call in original pixels, where pixel 0 reaches from 0 to 1.

        Raises:
            ToolError: no such view, or a point outside the view.
        """
        view = self.view(number)
        across, down = self.scale(view)
        if not (len(point) == 2 and 0 <= point[0] <= across and 0 <= point[1] <= down):
            given = ", ".join(f"{value:g}"[:12] for value in point[:2])
            raise ToolError(
                f"the point [{given}] does not lie in view {number}; expected [x, y] with "
                f"0 <= x <= {across:g} and 0 <= y <= {down:g}"
            )
        x, y, _, _ = view.to_px([*point, *point], (across, down))
        return min(x, view.box_px[2]), min(y, view.box_px[3])

    def look(
        self,
        image: int,
        box_px: Box,
        *,
        enlarge: bool,
        made_by: str | None,
        plane: str | None = None,
        index: int | None = None,
        slab: Slab | None = None,
        window: Window | None = None,
    ) -> View:
        """A new, unnumbered view of a region of an image.

        The aspect is that at the patient, up to the rounding to whole pixels or to
        `view_multiple`. With `enlarge` the region fills `view_size`; without it,
        the region is never shown larger than its original pixels (where these are not square, than
        their shorter sides).

        Args:
            plane, index, slab, window: what is shown of the image. A tool that starts from a view
                passes on its own: `**vars(view.place)`. With neither plane nor index it is what
                the episode started with.

        Raises:
            ToolError: there is no such plane or index, or no window for colours.
        """
        opened = self.images[image]
        place = self.place(image, plane, index, slab, window)
        width, height = opened.true_size(place, box_px)
        factor = self.view_size / max(width, height)
        if not enlarge:
            factor = min(1.0, factor)
        across, down = max(1, round(width * factor)), max(1, round(height * factor))
        across = max(across, -(-down // MAX_ASPECT))
        down = max(down, -(-across // MAX_ASPECT))
        size = self._multiple(across), self._multiple(down)
        picture = shared_picture(opened, place, box_px, size)
        return View(-1, image, box_px, picture, made_by, place)

    def _multiple(self, side: float) -> int:
        """The nearest side that a view may have."""
        return min(max(1, round(side / self.view_multiple)) * self.view_multiple, self.view_size)

    def again(self, view: View, place: ImagePlace, made_by: str | None, smaller: int = 1) -> View:
        """A new, unnumbered view of the same region, of another place; so many times smaller."""
        opened = self.images[view.image]
        size = view.size
        if smaller > 1:
            size = self._multiple(size[0] / smaller), self._multiple(size[1] / smaller)
        picture = shared_picture(opened, opened.checked(place), view.box_px, size)
        return View(-1, view.image, view.box_px, picture, made_by, place)

    def overview(self, image: int, place: ImagePlace, made_by: str | None) -> View:
        """A new, unnumbered view of the whole of what is at a place."""
        width, height = self.images[image].size(place)
        box_px = (0.0, 0.0, float(width), float(height))
        return self.look(image, box_px, enlarge=False, made_by=made_by, **vars(place))

    def overlay(self, view: View, picture: Image.Image, made_by: str) -> View:
        """A new, unnumbered view of the same region with other pixels, such as an outline."""
        return View(-1, view.image, view.box_px, picture.convert("RGB"), made_by, view.place)


def _hash(name: str) -> bytes:
    return blake2b(name.encode("utf-8", "replace"), digest_size=16).digest()
