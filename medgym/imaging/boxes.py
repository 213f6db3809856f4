"""Boxes that a plug-in gives, checked against the image that they are of."""

from typing import Any

from medgym.failures import ContractError
from medgym.imaging.study import Box


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
    # A comparison with NaN is false, so a box of it is refused too.
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ContractError(
            f"the box {_short(given)} does not lie in image {image}, {width} x {height}"
        )
    return x0, y0, x1, y1


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:74]} [cut]"
