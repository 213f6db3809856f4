"""Where a lesion lies and which blocks it consists of; decks, which keep cases balanced."""

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

from medgym.sources.phantom.rng import RandomStream
from medgym.sources.phantom.settings import SIDES

Cells = tuple[tuple[int, int], ...]
"""Blocks as (column, row) on the grid of blocks."""

Card = TypeVar("Card")


def lesion_cells(
    rng: RandomStream,
    field: tuple[float, float, float, float],
    grid: int,
    side: str,
    length: int,
    spare: int = 0,
) -> Cells:
    """The blocks of a lesion at a random place.

    Args:
        field: where lesions may lie, see `Setting`.
        grid: blocks along a side of the image.
        side: the half of the image in which all of it lies.
        length: blocks along its longest side.
        spare: blocks at its right and below it that lie in the field and the half as well.
    """
    width, height = length, max(2, length - rng.integer(0, 2))
    if rng.integer(0, 2):
        width, height = height, width
    places = _places(field, grid, side, width + spare, height + spare)
    x, y = places[rng.integer(0, len(places))]
    gone = _corners(width, height, rng)
    return tuple((x + i, y + j) for j in range(height) for i in range(width) if (i, j) not in gone)


def shuffled(deck: Sequence[Card], rng: RandomStream) -> tuple[Card, ...]:
    """The cards of a deck in a random order."""
    cards = list(deck)
    for last in range(len(cards) - 1, 0, -1):
        other = rng.integer(0, last + 1)
        cards[last], cards[other] = cards[other], cards[last]
    return tuple(cards)


def _corners(width: int, height: int, rng: RandomStream) -> set[tuple[int, int]]:
    """The corners to omit, never so many that the box would shrink."""
    corners = [(i, j) for i in (0, width - 1) for j in (0, height - 1)]
    if min(width, height) > 2:
        return {corner for corner in corners if rng.integer(0, 2)}
    if max(width, height) > 2:
        return {corners[rng.integer(0, 4)]} if rng.integer(0, 2) else set()
    return set()


@cache
def _places(
    field: tuple[float, float, float, float], grid: int, side: str, width: int, height: int
) -> tuple[tuple[int, int], ...]:
    """Where the top left block may lie so that the lesion lies in the field and in one half.

    One block at the image's border stays free.
    """
    cx, cy, rx, ry = field

    def inside(column: int, row: int) -> bool:
        u, v = (2 * column / grid - 1 - cx) / rx, (2 * row / grid - 1 - cy) / ry
        return u * u + v * v <= 1

    first, last = (1, grid // 2) if side == SIDES[0] else (grid // 2, grid - 1)
    return tuple(
        (x, y)
        for x in range(first, last - width + 1)
        for y in range(1, grid - height)
        if all(inside(x + i, y + j) for i in (0, width) for j in (0, height))
    )
