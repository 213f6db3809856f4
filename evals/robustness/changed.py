"""Images that are changed when they are opened: their URIs, and the studies that these open.

`variant:NAME/SEVERITY/SEED/KIND:URI` is the image at URI with the change of that name. The change
follows from the URI alone, so that a worker on Ray or a later run opens the same pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from PIL import Image

from medgym.errors import UserError
from medgym.imaging.grey import LookupTable, Window, WindowFunction
from medgym.imaging.imaging_study import ImagingStudy, OneImage, Plane, Region, part_of
from medgym.imaging.reach import WHOLE
from medgym.imaging.slides.image import LevelPixels, SlideImage
from medgym.imaging.study import Box, ImageRef, Study, open_study
from medgym.seeds import seed_of

from .corruptions.apply import BLANK, ImageChange
from .corruptions.severities import CORRUPTIONS, SEVERITIES, STRENGTHS

SCHEME = "variant"
"""Of the URIs, and the name of the source that opens them."""


def changed_ref(ref: ImageRef, change: ImageChange) -> ImageRef:
    """The reference to an image with a change; which image of a study it means stays."""
    head = f"{SCHEME}:{change.name}/{change.severity}/{change.seed}/{change.kind}:"
    return ref.model_copy(update={"uri": head + ref.uri})


def open_changed(ref: ImageRef) -> Study | ImagingStudy:
    """Open what `changed_ref` names.

    Raises:
        UserError: it names no change, or as `medgym.imaging.study.open_study`.
    """
    change, uri = _parsed(ref.uri)
    study = open_study(ref.model_copy(update={"uri": uri}))
    if isinstance(study, OneImage):
        (plane,) = study.planes
        return _changed(study.image(plane, 0), change)
    return ChangedStudy(study, change)


def _parsed(uri: str) -> tuple[ImageChange, str]:
    head, _, inner = uri.removeprefix(f"{SCHEME}:").partition(":")
    name, severity, seed, kind = (head.split("/") + [""] * 4)[:4]
    known = name == BLANK or (
        name in CORRUPTIONS and severity in map(str, SEVERITIES) and name in STRENGTHS.get(kind, {})
    )
    if not (known and inner and severity.isdecimal() and seed.isdecimal()):
        raise UserError(
            f"no changed image has the address {uri!r}; fix: take it from a case of the source "
            f"{SCHEME}"
        )
    return ImageChange(name, int(severity), kind, int(seed)), inner


class ChangedStudy(ImagingStudy):
    """A study of several images, or of a file, each of which is changed by itself.

    Args:
        study: the original. change: what is done to each image.
    """

    def __init__(self, study: ImagingStudy, change: ImageChange) -> None:
        super().__init__(study.name)
        self.of: ImagingStudy = study
        self._change = change

    @property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`: those of the original."""
        return self.of.planes

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`. A part of an image is a part of the changed image, except of
        one too large to be read whole, whose views are changed."""
        width, height = self.planes[plane].size
        place = seed_of(plane) % 2**32, index
        if width * height > WHOLE:
            return _changed(self.of.decode(plane, index, region), self._change, *place)
        whole = self.of.decode(plane, index, (0, 0, width, height))
        return part_of(_changed(whole, self._change, *place), region)

    def windows(self, plane: str, index: int) -> tuple[Window | LookupTable, ...]:
        """See `ImagingStudy.windows`."""
        return self.of.windows(plane, index)

    def window_function(self, plane: str, index: int) -> WindowFunction:
        """See `ImagingStudy.window_function`."""
        return self.of.window_function(plane, index)

    def place_mm(self, plane: str, index: int) -> float | None:
        """See `ImagingStudy.place_mm`."""
        return self.of.place_mm(plane, index)


@dataclass(frozen=True, eq=False)
class ChangedViews(SlideImage):
    """An image too large to be changed whole: each view of it is.

    Attributes:
        change, at: what is done to a view, and which image of the study it is of.
    """

    change: ImageChange | None = None
    at: tuple[int, ...] = ()

    def render(self, box_px: Box, size: tuple[int, int]) -> Image.Image:
        """See `Study.render`."""
        picture = super().render(box_px, size)
        if self.change is None:
            return picture
        box = (round(64 * edge) for edge in box_px)
        view = self.change.study(Study(np.asarray(picture)), *self.at, *box)
        return Image.fromarray(np.asarray(view.pixels))


def _changed(study: Study, change: ImageChange, *place: int) -> Study:
    large = study.size[0] * study.size[1] > WHOLE
    pixels: object = study.pixels
    if large or isinstance(pixels, LevelPixels):
        kept = {each.name: getattr(study, each.name) for each in fields(Study)}
        kept["original"] = study
        return ChangedViews(**kept, change=change, at=place)
    return replace(change.study(study, *place), original=study)
