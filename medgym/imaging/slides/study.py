"""A whole slide as a study: a plane for each level, the finest first."""

import logging
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.imaging_study import ImagingStudy, Plane, Region
from medgym.imaging.limits import MAX_PIXELS
from medgym.imaging.pictures.tiff import TIFF
from medgym.imaging.rendering import Study
from medgym.imaging.slides.dicom import is_dicom_slide, slide_files
from medgym.imaging.slides.file import SlideFile, reads
from medgym.imaging.slides.image import LevelPixels, SlideImage

LEVEL = "level"
"""What the planes of a slide are called, with the number of the level."""

FINEST = f"{LEVEL} 0"

_SCANNERS = (".mrxs", ".vms", ".vmu", ".czi", ".svslide")
"""What slides are called that begin as other files do, or as none."""

_VENDORS = ("is_svs", "is_ndpi", "is_scn", "is_bif", "is_philips")
_NEED = 64 * 2**20
_BITS = 8


class SlideStudy(ImagingStudy):
    """A slide. In an episode it is its finest level, of which every view takes the level it needs.

    Args:
        path: what OpenSlide is given.
        name: what the user named, such as the folder.
        files: all files of the slide, where they are known.
    """

    def __init__(
        self, path: Path, name: Path | None = None, files: tuple[Path, ...] | None = None
    ) -> None:
        super().__init__(str(name or path))
        self._file = SlideFile(path, files or (path,))

    @cached_property
    def planes(self) -> Mapping[str, Plane]:
        """See `ImagingStudy.planes`: one for each level, with one image."""
        found = {}
        for number, level in enumerate(self._file.levels):
            spacing = self._file.spacing_mm
            if spacing is not None:
                spacing = spacing[0] * level.factor, spacing[1] * level.factor
            found[f"{LEVEL} {number}"] = Plane(
                1, level.size, spacing, None if spacing is None else "patient"
            )
        return found

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`. Nothing is read before it is shown."""
        self._check(plane, index)
        level = int(plane.removeprefix(LEVEL))
        pixels: Any = LevelPixels(self._file, level, region)
        return SlideImage(pixels, self.planes[plane].spacing_mm, "SM")

    def need(self, plane: str, index: int) -> int:
        """Bytes of memory that showing a view takes."""
        self._check(plane, index)
        return _NEED


def is_slide(head: bytes, stream: BinaryIO, path: Path) -> bool:
    """Whether a file is a slide: a TIFF of several resolutions that OpenSlide reads, a DICOM file
    of the class of slides, or what a scanner's own program writes.

    Raises:
        UserError: it is one and cut off, or OpenSlide is not installed.
    """
    if path.suffix.lower() in _SCANNERS or is_dicom_slide(head):
        return True
    return head.startswith(TIFF) and _has_levels(stream, path) and reads(path)


def slide_in(folder: Path, series: str | None) -> SlideStudy | None:
    """The slide whose levels are the DICOM files of a folder; None where it holds none.

    Raises:
        UserError: it holds several, and `series` names none of them.
    """
    files = slide_files(folder, series)
    return None if files is None else SlideStudy(files[0], folder, files)


def opened_slide(path: Path) -> SlideStudy:
    """A slide, whose DICOM levels lie beside each other."""
    with open_regular(path, "image") as stream:
        head = stream.read(512)
    if not is_dicom_slide(head):
        return SlideStudy(path)
    files = slide_files(path.parent, None, like=path)
    return SlideStudy(path, path, files)


def _has_levels(stream: BinaryIO, path: Path) -> bool:
    """Whether a TIFF has several resolutions of 8 bits, or tiles that are too many for memory."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    stream.seek(0)
    size = os.fstat(stream.fileno()).st_size
    try:
        with tifffile.TiffFile(stream) as file:
            first = file.pages[0].aspage()
            bits: Any = first.bitspersample
            if (max(bits) if isinstance(bits, tuple) else int(bits)) != _BITS:
                return False
            of_vendor = any(getattr(file, vendor) for vendor in _VENDORS)
            if not first.is_tiled and not of_vendor:
                return False
            levels = [first]
            levels += [each.aspage() for each in list(file.pages)[1:] if each.aspage().is_reduced]
            levels = [each for each in levels if each.is_tiled]
            large = first.imagewidth * first.imagelength > MAX_PIXELS
            if len(levels) < 2 and not of_vendor and not large:
                return False
            pieces = [
                piece
                for each in levels
                for piece in zip(each.dataoffsets, each.databytecounts, strict=True)
            ]
    except Exception:  # whatever it is, it is opened as a picture or refused as one
        return False
    finally:
        stream.seek(0)
    if any(offset + length > size for offset, length in pieces):
        raise UserError(f"{path} is cut off within its pixels; fix: copy it again")
    return True
