"""A picture as a study: PNG, JPEG, TIFF, BMP or WebP.

The pixels are those that the file stores. An orientation is not applied in any format, and an alpha
channel is dropped. Values of 8 bits are shown as they are, others from the least to the
greatest.
"""

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.codestream import webp_size
from medgym.imaging.grey import UnreadableValues, Window, as_floats, full_window
from medgym.imaging.imaging_study import FRAME, IMAGE, ImagingStudy, Plane, Region, part_of
from medgym.imaging.limits import bomb, make_room, refuse_bomb
from medgym.imaging.pictures.others import named
from medgym.imaging.pictures.png import is_deep_colour, png_samples
from medgym.imaging.pictures.tiff import TIFF, TiffPage, tiff_count, tiff_page, tiff_samples
from medgym.imaging.rendering import Study
from medgym.imaging.strips import pixels_of

_GIF = (b"GIF87a", b"GIF89a")
_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", *_GIF, *TIFF)
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
_STORED = {"I;16", "I;16B", "I;16L", "I", "F"}
_GREY = {"1", "L", "LA"}

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What takes back the orientation that Pillow applies to a TIFF."""

_ORIENTATION = 0x0112
_TAIL = 4096

HELD = 2**18
"""Bytes of a file up to which it is read at once, and not opened again: each call of the system
lets go of the interpreter, which costs more beside other threads than to read a small file."""


def is_picture(head: bytes) -> bool:
    """Whether a file begins as a picture does."""
    return head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


class PictureStudy(ImagingStudy):
    """The pages of a TIFF file, the frames of a GIF, or the one image of another picture.

    Phones append previews to a JPEG, and a PNG or WebP may be animated: these are one image.

    Args:
        stream: the file. A small one is held in memory, others are opened again for each page.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._planes: dict[str, Plane] = {}
        # Of pages, as long as the stamp is the same.
        self._sizes: dict[int, tuple[int, int]] = {}
        self._modes: dict[int, str] = {}
        self._stamp = _stamp(stream)
        self._held: bytes | None = None
        if self._stamp[1] <= HELD:
            self._held = stream.read(self._stamp[1])
            stream = io.BytesIO(self._held)
        with _refused_by_name(path, stream):
            head = stream.read(64)
            self._head = head
            self._pages: dict[int, TiffPage] = {}
            self._count = tiff_count(stream) if head.startswith(TIFF) else 0
            size = webp_size(head)
            if size is not None:
                refuse_bomb(path, *size)
            self.frames = self._count or self._counted(stream)

    @property
    def planes(self) -> dict[str, Plane]:
        """See `ImagingStudy.planes`. Pages of several sizes are planes of one image each."""
        if not self._planes:
            sizes = self._all_sizes()
            if self.frames == 1:
                self._planes = {IMAGE: Plane(1, sizes[0])}
            elif len(set(sizes)) == 1:
                self._planes = {FRAME: Plane(self.frames, sizes[0])}
            else:
                names = enumerate(sizes)
                self._planes = {f"{FRAME} {number}": Plane(1, size) for number, size in names}
        return self._planes

    def _all_sizes(self) -> list[tuple[int, int]]:
        different = range(1 if self._is_gif else self.frames)
        if all(index in self._sizes for index in different) and self._is_unchanged():
            return [self._sizes[index] for index in different]
        with self._again() as stream, _refused_by_name(self._path, stream):
            return [self._size(stream, index) for index in different]

    def decode(self, plane: str, index: int, region: Region) -> Study:
        """See `ImagingStudy.decode`. The whole page is decoded."""
        number = plane.removeprefix(FRAME).strip()
        return part_of(self.frame(int(number) if number.isdecimal() else index), region)

    def frame(self, index: int) -> Study:
        """A whole page."""
        with self._again() as stream, _refused_by_name(self._path, stream):
            refuse_bomb(self._path, *self._size(stream, index))
            page = self._page(stream, index)
            if page is not None and not page.is_whole:
                raise UserError(f"{self._path} is cut off within its pixels; fix: copy it again")
            make_room(self._path, self._need(stream, index))
            return self._decoded(stream, index)

    def need(self, index: int) -> int:
        """Bytes of memory that decoding a page takes."""
        if index in self._modes and not is_deep_colour(self._head):
            return self._needed(self._sizes[index], self._modes[index])
        with self._again() as stream:
            return self._need(stream, index)

    def _is_unchanged(self) -> bool:
        if self._held is not None:
            return True
        try:
            return _stamped(os.stat(self._path)) == self._stamp
        except OSError:
            return False

    def _again(self) -> BinaryIO:
        if self._held is not None:
            return io.BytesIO(self._held)
        stream = open_regular(self._path, "image")
        if _stamp(stream) != self._stamp:
            stream.close()
            raise UserError(f"{self._path} changed while it was read; fix: open it again")
        return stream

    def _counted(self, stream: BinaryIO) -> int:
        with _picture(stream) as picture:
            refuse_bomb(self._path, *picture.size)
            if self._is_gif and not _ends_as_gif(stream):
                raise UserError(f"{self._path} is cut off; fix: copy it again")
            several = picture.format == "TIFF" or self._is_gif
            if not several:
                self._sizes[0], self._modes[0] = picture.size, picture.mode
            return int(getattr(picture, "n_frames", 1)) if several else 1

    @property
    def _is_gif(self) -> bool:
        return self._head.startswith(_GIF)

    def _page(self, stream: BinaryIO, index: int) -> TiffPage | None:
        """What a page of a TIFF says of itself; None for another picture."""
        if not self._count:
            return None
        if index not in self._pages:
            self._pages[index] = tiff_page(stream, index)
        return self._pages[index]

    def _size(self, stream: BinaryIO, index: int) -> tuple[int, int]:
        page = self._page(stream, index)
        if page is not None:
            return page.size
        if index not in self._sizes:
            with _picture(stream) as picture:
                if not self._is_gif:  # of which all frames have one size
                    picture.seek(index)
                width, height = picture.size
                turned = picture.format == "TIFF" and picture.getexif().get(_ORIENTATION, 1) >= 5
                self._sizes[index] = (height, width) if turned else (width, height)
        return self._sizes[index]

    def _need(self, stream: BinaryIO, index: int) -> int:
        """Per pixel: the library's own copy and ours, and what is added while it is shown."""
        width, height = self._size(stream, index)
        page = self._page(stream, index)
        if page is not None and page.is_deep:
            per_pixel = page.samples * (3 * page.bytes + 8) + 8
        elif is_deep_colour(self._head):
            per_pixel = 40
        elif self._is_gif:
            per_pixel = 16
        else:
            if index not in self._modes:
                with _picture(stream) as picture:
                    picture.seek(index)
                    self._modes[index] = picture.mode
            return self._needed((width, height), self._modes[index])
        return self._stamp[1] + width * height * per_pixel

    def _needed(self, size: tuple[int, int], mode: str) -> int:
        per_pixel = 8 if mode in _STORED else 2 if mode in _GREY else 10
        return self._stamp[1] + size[0] * size[1] * per_pixel

    def _decoded(self, stream: BinaryIO, index: int) -> Study:
        page = self._page(stream, index)
        if page is not None and page.is_deep:
            samples = tiff_samples(stream, self._path, index, page)
            return _measured(samples, inverted=page.white_is_zero)
        if is_deep_colour(self._head):
            return _measured(png_samples(stream, self._head))
        with _picture(stream) as picture:
            picture.seek(index)
            turned = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
            picture.load()
            stored: Image.Image = picture
            if picture.format == "TIFF" and turned is not None:
                stored = picture.transpose(turned)
            if stored.mode in _STORED:
                return _measured(pixels_of(stored, np.int32 if stored.mode == "I" else np.float32))
            # Of the frames of a GIF the first may be grey and the others not.
            is_grey = stored.mode in _GREY and (self.frames == 1 or not self._is_gif)
            pixels = pixels_of(stored, np.uint8, "L" if is_grey else "RGB")
            if page is not None and page.is_turned and pixels.ndim == 2:
                # Pillow has turned them; the values are those of the file, as in deeper images.
                return Study(255 - pixels, window=Window(127.5, 255.0, inverted=True))
            return Study(pixels)


def _stamp(stream: BinaryIO) -> tuple[int, int, int]:
    return _stamped(os.fstat(stream.fileno()))


def _stamped(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _ends_as_gif(stream: BinaryIO) -> bool:
    """Whether a file has the mark that ends a GIF: Pillow reads what is left of one in silence."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _TAIL))
    return stream.read().rstrip(b"\0").endswith(b";")


def _measured(samples: Any, *, inverted: bool = False) -> Study:
    """Values that are not bytes of grey or colour: shown from the least to the greatest."""
    if samples.ndim == 3:
        window = None if samples.dtype == np.uint8 else full_window(samples)
        return Study(samples, window=window)
    values = as_floats(samples)
    return Study(values, window=full_window(values, inverted=inverted))


def _picture(stream: BinaryIO) -> Image.Image:
    # What Pillow warns of is no business of stderr: a file is opened, or refused in one line. Our
    # own limit of pixels, between which and twice that it only warns, is checked right after. The
    # filters stay: putting the old ones back is not safe while other threads decode.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    warnings.filterwarnings("ignore", module=r"PIL(\..*)?$")
    stream.seek(0)
    return Image.open(stream, formats=_FORMATS)


@contextmanager
def _refused_by_name(path: Path, stream: BinaryIO) -> Iterator[None]:
    """Turns whatever a library raises into a `UserError` that says what is wrong."""
    try:
        yield
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(bomb(path)) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error
        raise UserError(_unreadable(stream, path, error)) from error


def _unreadable(stream: BinaryIO, path: Path, error: Exception) -> str:
    # The library's own text may quote what the file says of itself.
    cut = isinstance(error, EOFError) or re.search("truncat|end of file", str(error), re.IGNORECASE)
    own = isinstance(error, UnreadableValues)
    said = str(error) if own else "it is cut off" if cut else type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        stream.seek(0)
        head = stream.read(16)
        other = named(head)
        if other is not None:
            return f"{path} is {other}"
        if head[:4] in TIFF:
            return (
                f"{path} is a TIFF file of a kind that medgym does not read; fix: save it as PNG "
                "or as TIFF of 8 or 16 bits"
            )
        said = "it does not begin like one"
    what = "readable PNG, JPEG, TIFF, BMP, WebP, DICOM or NIfTI image"
    return f"{path} is not a {what} ({said}); fix: convert or replace it"
