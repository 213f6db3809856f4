"""PNG files of 16 bits with colours or an alpha channel, of which Pillow gives only 8 bits."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_COLOUR, _GREY_ALPHA, _COLOUR_ALPHA = 2, 4, 6


def is_deep_colour(head: bytes) -> bool:
    """Whether a file, by its first 26 bytes, is such a PNG."""
    return (
        head.startswith(b"\x89PNG\r\n\x1a\n")
        and head[24:25] == b"\x10"
        and head[25] in (_COLOUR, _GREY_ALPHA, _COLOUR_ALPHA)
    )


def png_samples(stream: BinaryIO, head: bytes) -> NDArray[np.uint16]:
    """(height, width) of grey, or (height, width, 3) of colours; alpha is dropped.

    Pillow unpacks one byte of each sample. So the upper and the lower ones are read after each
    other, but for grey with alpha, whose four bytes pass for those of a pixel of 8 bits.
    """
    if head[25] == _GREY_ALPHA:
        four = _unpacked(stream, "RGBA")
        return np.asarray(four[..., 0] << 8 | four[..., 1], np.uint16)
    mode = "RGB" if head[25] == _COLOUR else "RGBA"
    upper, lower = (_unpacked(stream, f"{mode};16{order}")[..., :3] for order in "BL")
    return np.asarray(upper << 8 | lower, np.uint16)


def _unpacked(stream: BinaryIO, raw_mode: str) -> NDArray[np.uint16]:
    stream.seek(0)
    with Image.open(stream, formats=("PNG",)) as picture:
        picture.tile = [tile._replace(args=raw_mode) for tile in picture.tile]
        return np.asarray(picture).astype(np.uint16)
