"""Opens what has pixels: a file by what it holds, or what a source draws.

`open_study` gives all its planes, to read lazily; `open_image` decodes the one image that an
`ImageRef` of a case names.
"""

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict

from medgym.errors import UserError
from medgym.failures import ContractError, at
from medgym.files import open_regular
from medgym.imaging.clips.study import ClipStudy, is_clip
from medgym.imaging.containers.held import HeldFile, naming
from medgym.imaging.containers.members import DATA, held_data, held_member
from medgym.imaging.dicom.file import is_dicom
from medgym.imaging.dicom.study import DicomStudy
from medgym.imaging.grey import LookupTable as LookupTable
from medgym.imaging.grey import Window as Window
from medgym.imaging.grey import full_window as full_window
from medgym.imaging.imaging_study import IMAGE, OneImage
from medgym.imaging.imaging_study import ImagingStudy as ImagingStudy
from medgym.imaging.imaging_study import Plane as Plane
from medgym.imaging.limits import chosen_frame
from medgym.imaging.nifti.study import NiftiStudy, is_nifti
from medgym.imaging.pictures.study import PictureStudy, is_picture
from medgym.imaging.reach import reach_need
from medgym.imaging.rendering import Box as Box
from medgym.imaging.rendering import Study as Study
from medgym.imaging.series.enhanced import open_frames
from medgym.imaging.series.one_file import OneFile
from medgym.imaging.series.study import is_directory, is_zip, open_series
from medgym.imaging.slabs import Slab as Slab
from medgym.imaging.slides.study import FINEST, SlideStudy, is_slide, opened_slide, slide_in
from medgym.imaging.volumes.study import VolumeStudy, named_image
from medgym.uris import SCHEME, file_path


class ImageRef(BaseModel):
    """Where one image of a case is, without its pixels.

    `uri` is `file:PATH` or `file:///ENCODED/PATH` (see `medgym.uris`), or `SCHEME:...` of a source
    that opens it, such as `phantom:...`, or `data:...`, which holds the image itself. `member` is
    one image of a zip or a Parquet file (see `medgym.imaging.containers`). `series` chooses one of
    several in a folder, a zip or a DICOMDIR, or a time point of a NIfTI file. `plane` and `index`
    choose an image of several, and `slab` shows it together with its neighbours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    role: Literal["current", "prior"] = "current"
    frame: int | None = None
    member: str | None = None
    series: str | None = None
    plane: str | None = None
    index: int | None = None
    slab: Slab | None = None

    @property
    def location(self) -> str:
        """What the image is in, without which part of it is shown: the URI, and the member."""
        return self.uri if self.member is None else f"{self.uri}#{self.member}"


def open_study(path_or_ref: "str | os.PathLike[str] | ImageRef") -> ImagingStudy:
    """Open something that has pixels: a file, or what a source draws.

    Only headers are read; pixels follow when they are asked for.

    Args:
        path_or_ref: a path, a URI (`file:...`, or `SCHEME:...` of a source), or an `ImageRef`,
            whose `frame` is left to the caller.

    Raises:
        UserError: as `open_image` does.
    """
    if isinstance(path_or_ref, ImageRef):
        return _opened(path_or_ref)
    if isinstance(path_or_ref, str) and (
        path_or_ref.startswith((SCHEME, DATA)) or _drawn(path_or_ref)
    ):
        return _opened(ImageRef(uri=path_or_ref))
    return _opened_file(Path(path_or_ref))


def open_image(ref: ImageRef) -> Study:
    """Decode the image that `ref` names.

    Raises:
        UserError: there is no such file, it is not an image, it has too many pixels, it is a DICOM
            file without pixels, it is on another machine, or no source opens the URI's scheme.
    """
    study = _opened(ref)
    return decoded(study, ref, place_of(study, ref))


def place_of(study: ImagingStudy, ref: ImageRef) -> tuple[str, int]:
    """The plane and the index that `ref` names in the study that it opens.

    Raises:
        UserError: there are several images, and it does not say which is meant.
    """
    if study.of is not None:
        return place_of(study.of, ref)
    if isinstance(study, SlideStudy) and ref.plane is None:
        return FINEST, ref.index or 0
    is_named = ref.plane is not None or ref.index is not None
    if isinstance(study, _Framed) and not is_named:
        number = chosen_frame(Path(study.name), ref.frame, study.frames)
        if study.frames == 1:
            return IMAGE, 0
        for plane, each in study.planes.items():
            if number < each.count:
                return plane, number
            number -= each.count
    drawn = isinstance(study, OneImage)  # a source that draws one image sees to the frame itself
    index = ref.frame if ref.index is None and not drawn else ref.index
    return named_image(study, ref.plane, index)


def start_of(study: ImagingStudy, ref: ImageRef) -> tuple[str, int]:
    """Where an episode on `ref` starts: at the image that it names, as `place_of` gives it. Of
    several, where it names none, at the middle one of the plane in which a volume was taken, and at
    the first frame or page of anything else.

    Raises:
        UserError: there is no such image, or it names one in part.
    """
    try:
        return place_of(study, ref)
    except UserError:
        if ref.plane is not None or ref.index is not None or ref.frame is not None:
            raise
    plane = acquired_plane(study, study.planes)
    is_volume = isinstance(study.of or study, VolumeStudy)
    return plane, study.planes[plane].count // 2 if is_volume else 0


def acquired_plane(study: ImagingStudy, planes: Mapping[str, Plane]) -> str:
    """Which of `planes` a study was taken in; of others the first one with more than one image."""
    inner = study.of or study
    if isinstance(inner, VolumeStudy) and inner.grid.acquired in planes:
        return inner.grid.acquired
    return next((name for name in planes if planes[name].count > 1), next(iter(planes)))


def decoded(study: ImagingStudy, ref: ImageRef, place: tuple[str, int]) -> Study:
    """The image at a place of the study that `ref` opens, with the slab that `ref` names.

    Raises:
        UserError: there is no such place, or it cannot be read.
    """
    with naming(study):
        if ref.slab is not None:
            return study.slab(*place, ref.slab)
        is_first = place == (IMAGE, 0)
        if isinstance(study, DicomStudy | PictureStudy) and is_first and study.frames == 1:
            return study.frame(0)  # which spares reading the header again
        return study.image(*place)


def open_file(path: Path, frame: int | None = None) -> Study:
    """Decode a PNG, JPEG, TIFF, BMP or WebP file, or a DICOM file. Errors as in `open_image`.

    The pixels are those that the file stores. An orientation (EXIF, TIFF) is not applied: boxes are
    in stored pixels. An alpha channel is dropped; CMYK and palettes become RGB. If the file has
    several frames or pages, `frame` chooses one.
    """
    return _frame(_opened_file(path, as_frames=frame is not None), path, frame)


def need_of(ref: ImageRef) -> int:
    """Bytes of memory that opening an image file and showing it, and the others that can be reached
    from it, takes at its most, from its header.

    0 for a file that `open_image` refuses.
    """
    try:
        return need_in(_opened(ref), ref)
    except Exception:  # opening it says what is wrong
        return 0


def need_in(study: ImagingStudy, ref: ImageRef) -> int:
    """`need_of` a reference that opens this study, which is of a file.

    Raises:
        Exception: what a library raises for a file that `open_image` refuses.
    """
    assert isinstance(study, _Framed | VolumeStudy | SlideStudy)
    plane, index = start_of(study, ref)
    if isinstance(study, _Framed):
        if study.frames == 1:
            return study.need(0)
        before = itertools.takewhile(lambda name: name != plane, study.planes)
        need = study.need(index + sum(study.planes[name].count for name in before))
    else:
        need = study.need(plane, index)
    return need + reach_need(study.planes)


def _opened(ref: ImageRef) -> ImagingStudy:
    as_frames = ref.frame is not None
    if ref.uri.startswith(DATA):
        return _opened_held(held_data(ref.uri), ref.series, as_frames)
    path = file_path(ref.uri)
    if path is None:
        drawn = _drawn_by_source(ref)
        return OneImage(ref.uri, drawn) if isinstance(drawn, Study) else drawn
    if ref.member is not None:
        return _opened_held(held_member(path, ref.member), ref.series, as_frames)
    return _opened_file(path, ref.series, as_frames=as_frames)


def open_bytes(data: bytes, name: str) -> ImagingStudy:
    """Open an image file that is in memory.

    Args:
        data: what the file holds.
        name: what errors call it.

    Raises:
        UserError: as `open_image` does.
    """
    return _opened_held(HeldFile(name, data), None, False)


def _opened_held(held: HeldFile, series: str | None, as_frames: bool) -> "_Opened":
    with held.named():
        study = _opened_file(held.path, series, as_frames=as_frames)
    held.keep_for(study)
    return study


_Framed = DicomStudy | PictureStudy | OneFile | ClipStudy
_Opened = _Framed | VolumeStudy | SlideStudy


def _opened_file(path: Path, series: str | None = None, *, as_frames: bool = False) -> _Opened:
    """Args:
    as_frames: whether the frames or pages of a file are meant, as it numbers them, and not what
        they make together.
    """
    if os.path.isdir(path):
        slide = None if as_frames else slide_in(path, series)
        return slide or open_series(path, series, as_frames=as_frames)
    with open_regular(path, "image") as stream:
        head = _head(stream)
        if not head:
            raise UserError(f"{path} is empty; fix: copy it again")
        if is_zip(head) or is_directory(head):
            return open_series(path, series, as_frames=as_frames)
        if is_nifti(head, path):
            return NiftiStudy(stream, path, series)
        is_whole_slide = not as_frames and is_slide(head, stream, path)
        named = path.suffix.lower() in {".dcm", ".dicom"} and not is_picture(head)
        is_one = is_whole_slide or is_clip(head) or not is_dicom(head, named=named)
        if not is_one and not as_frames:
            return open_frames(stream, path, series)
        if series is not None:
            raise UserError(f"{path} has no series; fix: leave the series out")
        if is_whole_slide:
            return opened_slide(path)
        if is_clip(head):
            return ClipStudy(stream, path)
        return PictureStudy(stream, path) if is_one else DicomStudy(stream, path)


def _frame(study: _Opened, path: Path, frame: int | None) -> Study:
    if isinstance(study, SlideStudy):
        return study.image(FINEST, 0)
    if isinstance(study, VolumeStudy):
        return study.image(*named_image(study, None, frame))
    return study.frame(chosen_frame(path, frame, study.frames))


def _head(stream: BinaryIO) -> bytes:
    head = stream.read(512)
    stream.seek(0)
    return head


def _drawn(text: str) -> bool:
    """Whether a text is the URI of an image that a source draws."""
    from medgym.registry import names

    scheme, colon, _ = text.partition(":")
    return bool(colon) and scheme in names("sources")


def _drawn_by_source(ref: ImageRef) -> Study | ImagingStudy:
    scheme, colon, _ = ref.uri.partition(":")
    if not colon:
        raise UserError(
            f"image {ref.uri!r} has no scheme; fix: write file:PATH, or the URI of a source"
        )
    from medgym.registry import load

    source = load("sources", scheme)
    with at("source", scheme):
        study: object = source.open_image(ref)
        if not isinstance(study, Study | ImagingStudy):
            raise ContractError(
                f"opened a {type(study).__name__}; expected a medgym.Study or ImagingStudy"
            )
    return study
