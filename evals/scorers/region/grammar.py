"""What an answer may be that names regions.

- A box `[x0, y0, x1, y1]`, or with a confidence from 0 to 1: `[x0, y0, x1, y1, 0.9]`.
- A box in a volume `[x0, y0, z0, x1, y1, z1]`: its images are z0 to z1, without z1.
- An object: `{"box": [...]}`, `{"polygon": [[x, y], ...]}` or `{"mask": {"width": ..., "height":
  ..., "counts": [...]}}` (row by row, the first count is of pixels outside), where wanted with
  `"score"`, `"image"`, and in a volume `"index"` and `"count"`.
- A list of these.

A number is plain: no exponent, no infinity. White space and a full stop at the end do not count.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from medgym.case import normalised
from medgym.imaging.study import Box
from medgym.regions import Mask, Region

MOST_SHAPES = 100
"""Regions that one answer may name."""

MOST_PIXELS = 64_000_000
"""Pixels that a mask, or what holds a polygon, may have."""

_NUMBER = r"\s*(-?\d{1,7}(?:\.\d{1,7})?)\s*"
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
_PLAIN = re.compile(r"-?\d{1,7}(?:\.\d{1,15})?")
_KEYS = {"box", "polygon", "mask", "score", "image", "index", "count", "label"}


Floats = NDArray[np.float64]


class _Unreadable(Exception):
    """It is no region."""


@dataclass(frozen=True)
class Shape:
    """A region that an answer names, with the confidence that it gives.

    Attributes:
        has_place: whether it says on which images of a volume it lies.
        score: None where it says none.
    """

    region: Region
    is_box: bool
    has_place: bool
    score: float | None


def read_shapes(text: str, plane: str | None = None) -> tuple[Shape, ...] | None:
    """The regions that a text names; None where it is anything else, names none or too many.

    Args:
        text: an answer, or a gold.
        plane: of the volume, where the gold lies in one.
    """
    match = _BOX.fullmatch(normalised(text))
    try:
        if match is not None:
            x0, y0, x1, y1 = map(float, match.groups())
            return (_boxed([x0, y0, x1, y1], None, 0, None),)
        return tuple(_listed(text, plane)) or None
    except (_Unreadable, ValidationError):
        return None


def _listed(text: str, plane: str | None) -> Iterator[Shape]:
    plain = text.strip().rstrip(".。 ")
    if plain[:1] not in ("[", "{") or len(plain) > 1_000_000:
        raise _Unreadable
    try:
        held = json.loads(plain, parse_float=_number, parse_int=_number, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise _Unreadable from error
    items = held if isinstance(held, list) and not _is_flat(held) else [held]
    if len(items) > MOST_SHAPES or (items == [held] and _is_flat(held) and len(held) == 4):
        raise _Unreadable  # four numbers that `_BOX` did not take
    for item in items:
        yield _shape(item, plane)


def _is_flat(held: Any) -> bool:
    return isinstance(held, list) and bool(held) and all(isinstance(each, float) for each in held)


def _number(text: str) -> float:
    if _PLAIN.fullmatch(text) is None:
        raise ValueError(f"{text} is no plain number")
    return float(text)


def _refused(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _shape(item: Any, plane: str | None) -> Shape:
    if _is_flat(item):
        score = item.pop() if len(item) in (5, 7) else None
        return _boxed(item, score, 0, plane)
    if not isinstance(item, dict) or not set(item) <= _KEYS:
        raise _Unreadable
    score, image = item.get("score"), _whole(item.get("image", 0.0))
    kinds = [name for name in ("box", "polygon", "mask") if name in item]
    if len(kinds) != 1:
        raise _Unreadable
    if kinds == ["box"] and _is_flat(item["box"]):
        made = _boxed(item["box"], score, image, plane)
    elif kinds == ["polygon"]:
        box, mask = _polygon(item["polygon"])
        made = _made(box, mask, score, image)
    elif kinds == ["mask"]:
        made = _made(*_mask(item["mask"]), score, image)
    else:
        raise _Unreadable
    if "index" not in item:
        return made
    if plane is None or made.has_place:
        raise _Unreadable
    count = _whole(item.get("count", 1.0))
    return _placed(made, plane, _whole(item["index"]), count)


def _boxed(numbers: list[float], score: Any, image: int, plane: str | None) -> Shape:
    if len(numbers) == 4:
        x0, y0, x1, y1 = numbers
        return _made((x0, y0, x1, y1), None, score, image)
    if len(numbers) != 6 or plane is None:
        raise _Unreadable
    x0, y0, z0, x1, y1, z1 = numbers
    return _placed(
        _made((x0, y0, x1, y1), None, score, image), plane, _whole(z0), _whole(z1) - _whole(z0)
    )


def _made(box: Box, mask: Mask | None, score: Any, image: int) -> Shape:
    if not (box[0] < box[2] and box[1] < box[3]):
        raise _Unreadable
    if score is not None and not (isinstance(score, float) and 0 <= score <= 1):
        raise _Unreadable
    region = Region(label="answer", box_px=box, mask=mask, image=image)
    return Shape(region, is_box=mask is None, has_place=False, score=score)


def _placed(shape: Shape, plane: str, index: int, count: int) -> Shape:
    if not 1 <= count <= 100_000:
        raise _Unreadable
    place = {"plane": plane, "index": index, "count": count}
    region = Region.model_validate(dict(shape.region) | place)
    return Shape(region, shape.is_box, True, shape.score)


def _whole(value: Any) -> int:
    if not isinstance(value, float) or value != int(value) or value < 0:
        raise _Unreadable
    return int(value)


def _polygon(points: Any) -> tuple[Box, Mask]:
    """A polygon as the pixels whose middle lies in it. What is outside the image does not count."""
    if not isinstance(points, list) or not 3 <= len(points) <= 10_000:
        raise _Unreadable
    if not all(_is_flat(point) and len(point) == 2 for point in points):
        raise _Unreadable
    xs, ys = np.array(points, dtype=np.float64).T
    width, height = (max(0, math.ceil(side.max())) for side in (xs, ys))
    if not 0 < width * height <= MOST_PIXELS:
        raise _Unreadable
    inside = _filled(xs, ys, height, width)
    return _bounds(inside), Mask.of(inside)


def _filled(xs: Floats, ys: Floats, height: int, width: int) -> NDArray[np.bool_]:
    """The pixels whose middle an odd number of edges has on its left. (scikit-image asks each pixel
    for each edge: half a second for a million pixels, and a reward cannot wait for that.)"""
    ends_x, ends_y = np.roll(xs, -1), np.roll(ys, -1)
    first = np.clip(np.ceil(np.minimum(ys, ends_y) - 0.5), 0, height).astype(int)
    last = np.clip(np.ceil(np.maximum(ys, ends_y) - 0.5), 0, height).astype(int)
    rows_of = last - first  # of each edge, the rows whose middle it crosses
    if rows_of.sum() > MOST_PIXELS:
        raise _Unreadable
    edge = np.repeat(np.arange(len(xs)), rows_of)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(rows_of) - rows_of, rows_of) + first[edge]
    along = (rows + 0.5 - ys[edge]) / (ends_y[edge] - ys[edge])
    crossed = xs[edge] + along * (ends_x[edge] - xs[edge])
    columns = np.clip(np.ceil(crossed - 0.5), 0, width).astype(int)
    edges = np.bincount(rows * (width + 1) + columns, minlength=height * (width + 1))
    parity = np.cumsum(edges.astype(np.uint8).reshape(height, width + 1), axis=1, dtype=np.uint8)
    inside: NDArray[np.bool_] = (parity[:, :width] & 1).astype(bool)
    return inside


def _mask(held: Any) -> tuple[Box, Mask]:
    if not isinstance(held, dict) or set(held) != {"width", "height", "counts"}:
        raise _Unreadable
    counts = held["counts"]
    if not isinstance(counts, list):
        raise _Unreadable
    width, height = _whole(held["width"]), _whole(held["height"])
    if not 0 < width * height <= MOST_PIXELS:
        raise _Unreadable
    mask = Mask(width=width, height=height, counts=tuple(map(_whole, counts)))
    return _bounds(mask.array()), mask


def _bounds(inside: Any) -> Box:
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    if not len(rows):
        raise _Unreadable
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
