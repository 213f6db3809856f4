"""What the pixels of a frame mean: the matrix and the range of its colours.

Where a file does not say, the conventions of players hold: BT.601 up to 576 rows and BT.709 above,
and the part of the range that broadcasting uses for all codecs that come from it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.errors import UserError
from medgym.imaging.grey import Window

_UNSAID, _PART, _FULL = 0, 1, 2
"""AVCOL_RANGE."""

_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""From AVCOL_SPC to what swscale calls the same: BT.709, FCC, BT.601, SMPTE 240M, BT.2020."""

_BT601, _BT709 = 5, 1
_RGB_MATRIX, _UNSAID_MATRIX = 0, 2
_MOST_ROWS_BT601 = 576
_HDR = (16, 18)
_GREY = {"gray": 8, "gray9le": 9, "gray10le": 10, "gray12le": 12, "gray14le": 14, "gray16le": 16}
_BROADCAST = {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9", "av1"}
"""Codecs whose values leave out both ends of the range unless they say otherwise."""


def pixels_of(frame: Any, codec: str, path: Any) -> tuple[NDArray[Any], Window | None]:
    """The stored values of a grey frame with the window of its range, or 8 bits of RGB.

    Raises:
        UserError: its colours are of a kind that is not converted.
    """
    kind = frame.format.name
    if kind in _GREY:
        return _grey(frame, _GREY[kind], codec)
    if frame.color_trc in _HDR:
        raise UserError(f"{path} has HDR colours; fix: convert it to BT.709")
    options: dict[str, Any] = {}
    if not frame.format.is_rgb and not frame.format.has_palette:
        matrix = _matrix(frame, path)
        full = frame.color_range == _FULL or kind.startswith("yuvj")
        options = {
            "src_colorspace": matrix, "dst_colorspace": matrix,
            "src_color_range": _FULL if full else _PART, "dst_color_range": _FULL,
        }  # fmt: skip
    return _converted(frame, options), None


def _converted(frame: Any, options: dict[str, Any]) -> NDArray[np.uint8]:
    from av.video.reformatter import Interpolation

    exact = (
        Interpolation.BILINEAR
        | Interpolation.ACCURATE_RND
        | Interpolation.FULL_CHR_H_INT
        | Interpolation.FULL_CHR_H_INP
        | Interpolation.BITEXACT
    )
    made = frame.reformat(format="rgb24", interpolation=exact, threads=1, **options)
    return np.ascontiguousarray(made.to_ndarray())


def _matrix(frame: Any, path: Any) -> int:
    if frame.colorspace in (_UNSAID_MATRIX, _RGB_MATRIX):
        return _BT601 if frame.height <= _MOST_ROWS_BT601 else _BT709
    if frame.colorspace not in _MATRICES:
        raise UserError(f"{path} has colours of a rare kind; fix: convert it to BT.709")
    return _MATRICES[frame.colorspace]


def _grey(frame: Any, bits: int, codec: str) -> tuple[NDArray[Any], Window | None]:
    plane = frame.planes[0]
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    values = rows[:, : frame.width * dtype.itemsize].copy().view(dtype)
    part = frame.color_range == _PART or (frame.color_range == _UNSAID and codec in _BROADCAST)
    if bits == 8 and not part:
        return values, None
    low, high = (16 << bits - 8, 235 << bits - 8) if part else (0, (1 << bits) - 1)
    return values, Window((low + high) / 2, float(high - low))
