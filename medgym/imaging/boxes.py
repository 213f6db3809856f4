"""Boxes that a plug-in gives, checked against the image that they are of."""

import math
from typing import Any

from medgym.failures import ContractError
from medgym.imaging.study import Box

ROUNDING = 1e-6
"""Pixels by which a box may reach outside its image: what was calculated in a view's coordinates
is rounded, and 2007 may come out as 2007.0000000000002."""


def checked_box(given: Any, image: int, size: tuple[int, int]) -> Box:
    """A box in pixels of an image of that number and size (width, height).

    Raises:
        ContractError: it is no box of four finite numbers, it is empty or reversed, or it reaches
            outside the image.
    """
    try:
        x0, y0, x1, y1 = (float(edge) for edge in given)
    except (TypeError, ValueError) as error:
        raise ContractError(f"{_short(given)} is no box; expected (x0, y0, x1, y1)") from error
    width, height = size
    x0, x1 = _inside(x0, width), _inside(x1, width)
    y0, y1 = _inside(y0, height), _inside(y1, height)
    # A comparison with NaN is false, so a box of it is refused too.
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ContractError(
            f"the box {_short(given)} does not lie in image {image}, {width} x {height}"
        )
    return x0, y0, x1, y1


def _inside(edge: float, most: int) -> float:
    nearest = min(max(edge, 0.0), float(most))
    return nearest if math.isclose(edge, nearest, rel_tol=0.0, abs_tol=ROUNDING) else edge


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:74]} [cut]"


def whole_pixels(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """The nearest whole pixels to an interval, inside [least, most], at least one pixel long.

    An interval that rounds to nothing is the pixel that holds its centre.
    """
    start, end = float(round(low)), float(round(high))
    if end <= start:
        start = float(math.floor((low + high) / 2))
    start = min(max(start, least), most - 1)
    return start, min(max(end, start + 1), most)
