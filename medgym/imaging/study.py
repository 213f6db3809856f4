"""Images as the case's files store them: opened safely, with spacing and window, and rendered.

A `Study` holds original pixels and never changes. Everything that a policy sees comes from
`Study.render`, which always starts from the original pixels. It shrinks by area averaging: each
output pixel is the mean of only its own block, so nothing aliases and nothing leaks across blocks.
It enlarges bicubically.
"""

import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict

from medgym.errors import UserError
from medgym.failures import ContractError, at
from medgym.files import open_regular
from medgym.imaging.limits import bomb, chosen_frame, make_room, refuse_bomb
from medgym.imaging.read_only import read_only
from medgym.imaging.spacing import credible_spacing
from medgym.imaging.strips import finite_range, mapped, one_at_a_time, pixels_of, replace_nonfinite
from medgym.uris import file_path

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1), origin top left, end exclusive. A variable's name says its frame (`_px`)."""


class ImageRef(BaseModel):
    """Where one image of a case is, without its pixels.

    `uri` is `file:PATH` or `file:///ENCODED/PATH` (see `medgym.uris`), or `SCHEME:...` of a source
    that opens it, such as `phantom:...`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    role: Literal["current", "prior"] = "current"
    frame: int | None = None
    series: str | None = None


@dataclass(frozen=True)
class Window:
    """The range of stored values that is shown: `centre` ± `width`/2 is mapped to 0..255."""

    centre: float
    width: float


@dataclass(frozen=True, eq=False)
class Study:
    """One decoded image.

    Attributes:
        pixels: (height, width) or (height, width, 3) uint8, or (height, width) float32 together
            with a `window`. Read-only for good.
        spacing_mm: millimetres per pixel as (row, column), None if unknown or absurd.
        modality: DICOM modality code, None if unknown.
        window: how stored values become grey; None for uint8 pixels.
        view_sizes: the view sizes at which the whole image may be shown; None for any. A source
            sets it if an overview of another size would give away what a tool has to find.
    """

    pixels: NDArray[Any]
    spacing_mm: tuple[float, float] | None = None
    modality: str | None = None
    window: Window | None = None
    view_sizes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if (self.pixels.ndim != 2 and self.pixels.shape[2:] != (3,)) or not self.pixels.size:
            raise ValueError(f"pixels of shape {self.pixels.shape} are neither grey nor RGB")
        if self.pixels.dtype != np.uint8 and (self.window is None or self.pixels.ndim == 3):
            raise ValueError(f"{self.pixels.dtype} pixels need to be grey and to have a window")
        if self.pixels.dtype.kind not in "uif":
            raise ValueError(f"{self.pixels.dtype} pixels are no numbers")
        object.__setattr__(self, "pixels", read_only(self.pixels))
        object.__setattr__(self, "spacing_mm", credible_spacing(self.spacing_mm))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, pixels=read_only(state["pixels"]))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in original pixels."""
        height, width = self.pixels.shape[:2]
        return width, height

    def _shown(self, left: int, top: int, right: int, bottom: int) -> Image.Image:
        part = self.pixels[top:bottom, left:right]
        if self.window is not None:
            low = self.window.centre - self.window.width / 2
            factor = 255.0 / self.window.width
            grey = mapped(
                part, np.uint8, lambda rows: np.clip(np.rint((rows - low) * factor), 0, 255)
            )
            return Image.fromarray(grey)
        elif self.pixels.ndim == 2 and self.pixels.flags.c_contiguous:
            # Pillow can use grey pixels without a copy if whole rows follow each other in memory.
            step = self.pixels.shape[1]
            rest = self.pixels.reshape(-1)[top * step + left :][: step * (bottom - top)]
            if len(rest) == step * (bottom - top):
                size = (right - left, bottom - top)
                return Image.frombuffer("L", size, rest, "raw", "L", step, 1)
        return Image.fromarray(np.ascontiguousarray(part))

    def render(self, box_px: Box, size: tuple[int, int]) -> Image.Image:
        """The region `box_px` (original pixels) resampled to `size` (width, height), as RGB.

        If whole pixels shrink by whole factors, each output pixel is the rounded mean of only its
        own block, exactly so for factors that are powers of two. Only the pixels under the box are
        read, so it costs as much as a bare crop and resize.
        """
        with one_at_a_time(self, box_px):
            return self._rendered(box_px, size)

    def _rendered(self, box_px: Box, size: tuple[int, int]) -> Image.Image:
        x0, y0, x1, y1 = box_px
        width, height = self.size
        left, top = max(int(np.floor(x0)), 0), max(int(np.floor(y0)), 0)
        right, bottom = min(int(np.ceil(x1)), width), min(int(np.ceil(y1)), height)
        picture = self._shown(left, top, right, bottom)
        inner = (x0 - left, y0 - top, x1 - left, y1 - top)
        if _is_whole(picture, inner):
            # `resize` rounds after each axis, `reduce` once.
            factors = (_factor(picture.width, size[0]), _factor(picture.height, size[1]))
            picture = picture.reduce(factors) if factors != (1, 1) else picture
            inner = (0.0, 0.0, float(picture.width), float(picture.height))
        if size != picture.size or not _is_whole(picture, inner):
            picture = _resized(picture, inner, size)
        # Merging gives the same bytes as converting grey, in a third of the time.
        return Image.merge("RGB", (picture,) * 3) if picture.mode == "L" else picture.convert("RGB")


def _is_whole(picture: Image.Image, box: Box) -> bool:
    return box == (0.0, 0.0, float(picture.width), float(picture.height))


def _factor(length: int, wanted: int) -> int:
    return length // wanted if length % wanted == 0 else 1


def _resized(picture: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Resample each axis: by area average if it shrinks, by interpolation if it grows.

    Both axes are resampled at once if both shrink or both grow, else the one that shrinks first.
    """
    x0, y0, x1, y1 = box
    across, down = size[0] <= x1 - x0, size[1] <= y1 - y0
    if across != down:
        wide, high = float(picture.width), float(picture.height)
        middle = (size[0], picture.height) if across else (picture.width, size[1])
        strip = (x0, 0.0, x1, high) if across else (0.0, y0, wide, y1)
        picture = picture.resize(middle, Image.Resampling.BOX, strip)
        box = (0.0, y0, float(size[0]), y1) if across else (x0, 0.0, x1, float(size[1]))
    shrinks = across and down
    resample = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return picture.resize(size, resample, box)


def open_image(ref: ImageRef) -> Study:
    """Decode the image that `ref` names.

    Raises:
        UserError: there is no such file, it is not an image, it has too many pixels, it is a DICOM
            file without pixels, it is on another machine, or no source opens the URI's scheme.
    """
    path = file_path(ref.uri)
    if path is not None:
        return open_file(path, frame=ref.frame)
    scheme, colon, _ = ref.uri.partition(":")
    if not colon:
        raise UserError(
            f"image {ref.uri!r} has no scheme; fix: write file:PATH, or the URI of a source"
        )
    from medgym.registry import load

    source = load("sources", scheme)
    with at("source", scheme):
        study: object = source.open_image(ref)
        if not isinstance(study, Study):
            raise ContractError(f"opened a {type(study).__name__}; expected a medgym.Study")
    return study


def open_file(path: Path, frame: int | None = None) -> Study:
    """Decode a PNG, JPEG or TIFF file, or a DICOM file. Errors as in `open_image`.

    The pixels are those that the file stores. An EXIF orientation is not applied: medical viewers
    do not apply it either, and boxes are in stored pixels. An alpha channel is dropped; CMYK and
    palettes become RGB. If the file has several frames or pages, `frame` chooses one.
    """
    with open_regular(path, "image") as stream:
        is_dicom = _is_dicom(stream, path)
        decode = _open_dicom if is_dicom else _open_picture
        try:
            return decode(stream, path, frame)
        except UserError:
            raise
        except Image.DecompressionBombError as error:
            raise UserError(bomb(path)) from error
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error
            raise UserError(_unreadable(stream, path, is_dicom, error)) from error


def need_of(ref: ImageRef) -> int:
    """Bytes of memory that opening and showing an image file takes at its most, from its header.

    0 for a file that `open_image` refuses.
    """
    try:
        path, frame = file_path(ref.uri), ref.frame
        assert path is not None
        with open_regular(path, "image") as stream:
            if _is_dicom(stream, path):
                from medgym.imaging import dicom

                return dicom.need_of(stream, path, frame)
            with _picture(stream) as picture:
                picture.seek(_page(picture, path, frame))
                return _need(stream, picture)
    except Exception:  # opening it says what is wrong
        return 0


def _is_dicom(stream: BinaryIO, path: Path) -> bool:
    """Whether a file is DICOM, by what it holds, and by its name only where that does not tell."""
    head = stream.read(132)
    stream.seek(0)
    if head[128:132] == b"DICM":
        return True
    return not head.startswith(_PICTURES) and path.suffix.lower() in {".dcm", ".dicom"}


_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", *_TIFF)
"""How PNG, JPEG and TIFF files begin."""


def _unreadable(stream: BinaryIO, path: Path, is_dicom: bool, error: Exception) -> str:
    if is_dicom:
        return (
            f"{path} is not a readable DICOM image ({_first_line(error)}); fix: convert or "
            "decompress it (gdcmconv --raw FILE OUT) or replace it"
        )
    said = _first_line(error)
    if isinstance(error, UnidentifiedImageError):
        stream.seek(0)
        if stream.read(4) in _TIFF:
            return (
                f"{path} is a TIFF file of a kind that Pillow does not read; fix: save it as PNG "
                "or as TIFF of 8 or 16 bits"
            )
        said = "it does not begin like one"
    what = "readable PNG, JPEG, TIFF or DICOM image"
    return f"{path} is not a {what} ({said}); fix: convert or replace it"


def _picture(stream: BinaryIO) -> Image.Image:
    # Between its limit and twice that Pillow only warns; our own limit is checked right after. The
    # filter stays: putting the old filters back is not safe while other threads decode.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    return Image.open(stream, formats=("PNG", "JPEG", "TIFF"))


def _page(picture: Image.Image, path: Path, frame: int | None) -> int:
    # Phones append previews to a JPEG, and a PNG may be animated: only a TIFF has pages.
    pages = int(getattr(picture, "n_frames", 1)) if picture.format == "TIFF" else 1
    return chosen_frame(path, frame, pages)


def _need(stream: BinaryIO, picture: Image.Image) -> int:
    """Per pixel: Pillow's own copy and ours, and while a colour image is shown two more."""
    per_pixel = 8 if picture.mode in _STORED else 2 if picture.mode in _GREY else 10
    return os.fstat(stream.fileno()).st_size + picture.width * picture.height * per_pixel


_STORED = {"I;16", "I;16B", "I;16L", "I", "F"}
_GREY = {"1", "L", "LA"}


def _open_picture(stream: BinaryIO, path: Path, frame: int | None) -> Study:
    with _picture(stream) as picture:
        picture.seek(_page(picture, path, frame))
        refuse_bomb(path, *picture.size)
        make_room(path, _need(stream, picture))
        picture.load()
        if picture.mode in _STORED:
            return _stored(pixels_of(picture, np.float32))
        return Study(pixels_of(picture, np.uint8, "L" if picture.mode in _GREY else "RGB"))


def _open_dicom(stream: BinaryIO, path: Path, frame: int | None) -> Study:
    from pydicom.pixels import apply_color_lut, apply_modality_lut

    from medgym.imaging import dicom

    dataset, raw = dicom.read(stream, path, frame)
    space = str(dataset.get("PhotometricInterpretation"))
    if space == "PALETTE COLOR":
        raw = apply_color_lut(raw, dataset)
        raw = (raw >> 8).astype(np.uint8) if raw.dtype == np.uint16 else raw
    spacing_mm = _spacing(dataset)
    modality = str(dataset.get("Modality") or "") or None
    if raw.ndim == 3:
        if raw.dtype != np.uint8 or raw.shape[2] != 3:
            raise UserError(
                f"{path} has colour pixels of {raw.dtype} x {raw.shape[2]}; fix: store 8-bit RGB"
            )
        return Study(np.array(raw), spacing_mm, modality)
    values = mapped(raw, np.float32, lambda rows: apply_modality_lut(rows, dataset))
    study = _stored(values, _header_window(dataset), spacing_mm, modality)
    if space == "MONOCHROME1" and study.window is not None:
        window = Window(-study.window.centre, study.window.width)
        return Study(-study.pixels, spacing_mm, modality, window)
    return study


def _stored(
    values: NDArray[np.float32],
    window: Window | None = None,
    spacing_mm: tuple[float, float] | None = None,
    modality: str | None = None,
) -> Study:
    """Grey values as the file stores them; one that is not a number becomes the least one shown."""
    window = window or full_window(values)
    low, high = window.centre - window.width / 2, window.centre + window.width / 2
    replace_nonfinite(values, low, high)
    return Study(values, spacing_mm, modality, window)


def _spacing(dataset: Any) -> tuple[float, float] | None:
    return credible_spacing(dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing"))


def _header_window(dataset: Any) -> Window | None:
    found = []
    for value in (dataset.get("WindowCenter"), dataset.get("WindowWidth")):
        values = value if hasattr(value, "__len__") and not isinstance(value, str) else [value]
        found.append(math.nan if values[0] in (None, "") else float(values[0]))
    centre, width = found
    return Window(centre, width) if math.isfinite(centre) and width > 0 else None


def full_window(values: NDArray[Any]) -> Window:
    """The window from the least to the greatest of all finite values."""
    low, high = finite_range(values) or (0.0, 1.0)
    return Window((low + high) / 2, max(high - low, 1e-6))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
