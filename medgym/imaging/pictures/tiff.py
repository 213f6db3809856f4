"""TIFF files: what their pages hold, and values that are not bytes of grey or colour.

Pillow reads what has 8 bits. It has no unsigned 32 bits, 64 bits, half floats or 16 bits of
colours, and does not turn white-is-zero where there are more than 8 bits; tifffile does.
"""

import logging
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medgym.errors import UserError
from medgym.imaging.grey import UnreadableValues

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFF files begin."""

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_NONE, _DEFLATE = (1,), (8, 32946)
_ALPHA = {1, 2}
_SEPARATE = 2


@dataclass(frozen=True)
class TiffPage:
    """What a page says of itself.

    Attributes:
        size: (width, height) as stored. samples: per pixel. bytes: of a sample.
        is_deep: whether its values are not unsigned ones of up to 8 bits.
        white_is_zero: whether low values are white.
        is_whole: whether the file has a piece for each part of the page, and enough bytes.
        is_turned: whether Pillow turns them, so that they are not those that the file stores.
    """

    size: tuple[int, int]
    samples: int
    bytes: int
    is_deep: bool
    white_is_zero: bool
    is_whole: bool
    is_turned: bool


def tiff_count(stream: BinaryIO) -> int:
    """How many pages a file has; 0 where tifffile does not read it, for Pillow to try."""
    try:
        with _file(stream) as file:
            return len(file.pages)
    except Exception:
        return 0


def tiff_page(stream: BinaryIO, index: int) -> TiffPage:
    """What a page says of itself."""
    with _file(stream) as file:
        return _page(file.pages[index].aspage(), int(file.filehandle.size))


def tiff_samples(stream: BinaryIO, path: Path, index: int, about: TiffPage) -> NDArray[Any]:
    """The values of a page as stored: (height, width), or (height, width, 3) of colours.

    Raises:
        UserError: it is of a kind that medgym does not read.
    """
    with _file(stream) as file:
        page = file.pages[index]
        kinds = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE)
        if page.photometric not in kinds or page.dtype is None or page.dtype.kind not in "uif":
            raise _refused(path)
        if page.imagedepth != 1 or about.samples > 4:
            raise _refused(path)
        if page.compression in _DEFLATE:
            _refuse_bombs(page, stream, path)
        if page.compression in (*_NONE, *_DEFLATE):
            try:
                return _arranged(page, page.asarray(), path)
            except (NotImplementedError, ValueError):
                if about.samples > 1:
                    raise
        dtype, deep_colour = page.dtype.newbyteorder("="), page.photometric == _RGB
        planar = page.planarconfig == _SEPARATE
    if deep_colour and dtype == np.uint16 and about.samples in (3, 4) and not planar:
        return _colours_by_pillow(stream, index, "RGB" if about.samples == 3 else "RGBA")
    if about.samples > 1 or page.photometric == _PALETTE:
        raise _refused(path)
    return _by_pillow(stream, index, dtype)


def _file(stream: BinaryIO) -> Any:
    import tifffile

    # What it warns of is no business of stderr: a file is opened, or refused in one line.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    stream.seek(0)
    return tifffile.TiffFile(stream)


def _page(page: Any, size: int) -> TiffPage:
    bits = page.bitspersample
    deepest = max(bits) if isinstance(bits, tuple) else int(bits)
    plain = deepest <= 8 and page.sampleformat in (1, 4)
    return TiffPage(
        (int(page.imagewidth), int(page.imagelength)),
        int(page.samplesperpixel),
        -(-deepest // 8),
        not plain,
        page.photometric == _WHITE_IS_ZERO,
        _is_whole(page, deepest, size),
        page.photometric == _WHITE_IS_ZERO and plain and deepest == 8,
    )


def _piece(page: Any) -> tuple[int, int]:
    """The rows and columns of a strip or tile."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return max(1, min(int(page.rowsperstrip), int(page.imagelength))), int(page.imagewidth)


def _is_whole(page: Any, bits: int, size: int) -> bool:
    rows, across = _piece(page)
    pieces = -(-page.imagelength // rows) * -(-page.imagewidth // across)
    if page.planarconfig == _SEPARATE:
        pieces *= page.samplesperpixel
    least = page.imagelength * page.imagewidth * page.samplesperpixel * bits // 8
    return len(page.dataoffsets) >= pieces and (page.compression not in _NONE or size >= least)


def _arranged(page: Any, samples: NDArray[Any], path: Path) -> NDArray[Any]:
    if page.axes not in ("YX", "YXS", "SYX"):
        raise _refused(path)
    if page.axes == "SYX":
        samples = np.moveaxis(samples, 0, -1)
    if page.photometric == _PALETTE:
        colours = np.asarray(page.colormap)
        colours = colours >> 8 if colours.max() > 255 else colours
        if samples.ndim != 2 or samples.dtype.kind != "u" or samples.max() >= colours.shape[1]:
            raise _refused(path)
        return np.ascontiguousarray(colours.astype(np.uint8).T[samples])
    if samples.ndim == 2:
        return samples
    if page.photometric == _RGB and samples.shape[2] >= 3:
        return np.ascontiguousarray(samples[..., :3])
    if samples.shape[2] == 2 and set(page.extrasamples) <= _ALPHA:
        return np.ascontiguousarray(samples[..., 0])
    raise UserError(
        f"{path} has {samples.shape[2]} channels that are no colours; fix: save one of them"
    )


def _refuse_bombs(page: Any, stream: BinaryIO, path: Path) -> None:
    """`UserError` where a piece of a page inflates to more than its pixels take."""
    rows, across = _piece(page)
    most = rows * across * page.samplesperpixel * page.dtype.itemsize
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        stream.seek(offset)
        inflater = zlib.decompressobj()
        inflater.decompress(stream.read(length), most + 1)
        if inflater.unconsumed_tail:
            raise UserError(f"{path} inflates to more than its header says; fix: replace it")


def _by_pillow(stream: BinaryIO, index: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values that only Pillow decompresses, with the sign that they have."""
    stream.seek(0)
    with Image.open(stream, formats=("TIFF",)) as picture:
        picture.seek(index)
        orientation = picture.getexif().get(0x0112, 1)
        samples = np.array(picture)
    if orientation != 1:
        raise UnreadableValues("an orientation beside its compression")
    if dtype.kind in "ui" and samples.dtype.kind in "ui":
        return samples.astype(samples.dtype.newbyteorder("=")).view(
            f"{dtype.kind}{samples.dtype.itemsize}"
        )
    return samples.astype(dtype)


def _colours_by_pillow(stream: BinaryIO, index: int, mode: str) -> NDArray[np.uint16]:
    """16 bits of colours that only Pillow decompresses: it gives one byte of each, asked twice."""
    halves = []
    for order in "LB":
        stream.seek(0)
        with Image.open(stream, formats=("TIFF",)) as picture:
            picture.seek(index)
            if picture.getexif().get(0x0112, 1) != 1:
                raise UnreadableValues("an orientation beside its compression")
            (tile,) = picture.tile
            assert isinstance(tile.args, tuple)
            picture.tile = [tile._replace(args=(f"{mode};16{order}", *tile.args[1:]))]
            halves.append(np.asarray(picture)[..., :3].astype(np.uint16))
    upper, lower = halves if sys.byteorder == "little" else halves[::-1]
    return np.asarray(upper << 8 | lower, np.uint16)


def _refused(path: Path) -> UserError:
    return UserError(
        f"{path} is a TIFF file of a kind that medgym does not read; fix: save it as PNG "
        "or as TIFF of 8 or 16 bits"
    )
