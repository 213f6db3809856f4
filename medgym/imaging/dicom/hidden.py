"""Pixels that hold no measurement: padding (PS3.3 C.7.5.1.1.2), and what a shutter covers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medgym.errors import UserError
from medgym.imaging.dicom.functional_groups import FrameHeader

_PADDING = {
    "u": ("PixelPaddingValue", "PixelPaddingRangeLimit"),
    "i": ("PixelPaddingValue", "PixelPaddingRangeLimit"),
    4: ("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
    8: ("DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit"),
}


def padding_in(stored: NDArray[Any], header: FrameHeader) -> NDArray[np.bool_] | None:
    """Which stored values are padding; None for none."""
    kind = stored.dtype.kind
    first, limit = _PADDING[kind if kind in "ui" else stored.dtype.itemsize]
    values = header.numbers(header.root, first)[:1]
    if not values:
        return None
    ends = [_as_stored(each, header, kind) for each in values]
    ends += [_as_stored(each, header, kind) for each in header.numbers(header.root, limit)[:1]]
    found = (stored >= min(ends)) & (stored <= max(ends))
    return found if found.any() else None


def _as_stored(value: float, header: FrameHeader, kind: str) -> float:
    """A padding value of the wrong sign, which its 16 bits allow, as the pixels have it."""
    if kind == "i" and 2**15 <= value < 2**16:
        return value - 2**16
    if kind == "u" and -(2**15) <= value < 0:
        bits = int(header.root.get("BitsAllocated") or 16)
        return value + float(1 << bits)
    return value


def shuttered(header: FrameHeader, width: int, height: int) -> NDArray[np.bool_] | None:
    """Which pixels the display shutter covers; None for none."""
    holder = header.holder("FrameDisplayShutterSequence", "ShutterShape")
    shapes = holder.get("ShutterShape") or ()
    shapes = [shapes] if isinstance(shapes, str) else list(shapes)
    if not shapes:
        return None
    open_ = np.ones((height, width), np.bool_)
    for shape in shapes:
        name = str(shape).strip().upper()
        drawn = Image.new("1", (width, height))
        pen = ImageDraw.Draw(drawn)
        if name == "RECTANGULAR":
            edges = [
                _edge(header, holder, f"Shutter{edge}Edge")
                for edge in ("LeftVertical", "UpperHorizontal", "RightVertical", "LowerHorizontal")
            ]
            if edges[2] >= edges[0] and edges[3] >= edges[1]:
                pen.rectangle([each - 1 for each in edges], fill=1)
        elif name == "CIRCULAR":
            row, column = _pair(header, holder, "CenterOfCircularShutter")
            radius = header.number(holder, "RadiusOfCircularShutter", 0.0)
            y, x = np.ogrid[1 : height + 1, 1 : width + 1]
            open_ &= (y - row) ** 2 + (x - column) ** 2 <= radius**2
            continue
        elif name == "POLYGONAL":
            corners = header.numbers(holder, "VerticesOfThePolygonalShutter")
            points = [(x - 1, y - 1) for y, x in zip(corners[::2], corners[1::2], strict=False)]
            if len(points) < 3:
                raise _damaged(header)
            pen.polygon(points, fill=1)
        else:
            raise UserError(
                f"{header.path} has a shutter of a shape that medgym does not draw; fix: export it "
                "without"
            )
        open_ &= np.asarray(drawn, np.bool_)
    return None if open_.all() else ~open_


def _edge(header: FrameHeader, holder: Any, keyword: str) -> float:
    values = header.numbers(holder, keyword)
    if len(values) != 1:
        raise _damaged(header)
    return values[0]


def _pair(header: FrameHeader, holder: Any, keyword: str) -> tuple[float, float]:
    values = header.numbers(holder, keyword)
    if len(values) != 2:
        raise _damaged(header)
    return values[0], values[1]


def _damaged(header: FrameHeader) -> UserError:
    return UserError(f"the shutter of {header.path} is damaged; fix: export it again")
