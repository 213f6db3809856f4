"""The cut itself: each pixel has a cost of being inside, and an outline has a cost for its length.

The sum is least for the solution of a convex problem, which is solved by alternating steps of it
and its dual (Chambolle and Pock): quick, without a graph, and the same each time.
"""

import numpy as np
from numpy.typing import NDArray

from ..request import Binary

Pixels = NDArray[np.float32]

STEPS = 40

STEP = 0.35
"""Of both problems; their product times 8 must stay under 1."""


def short_outline(cost: Pixels, outside: Binary, across: Pixels, down: Pixels) -> Binary:
    """Where `cost` is below 0, but with a short outline and nowhere `outside`.

    Args:
        cost: of each pixel that is inside.
        across, down: the cost of an outline between a pixel and the next one of its row, and of its
            column.
    """
    inside = ((cost < 0) & ~outside).astype(np.float32)
    ahead = inside.copy()
    free = (~outside).astype(np.float32)
    flow_x, flow_y = np.zeros_like(cost), np.zeros_like(cost)
    flow = np.empty_like(cost)
    limit_x, limit_y = across[:, :-1], down[:-1]
    part_x, part_y = flow_x[:, :-1], flow_y[:-1]
    for _ in range(STEPS):
        part_x += STEP * (ahead[:, 1:] - ahead[:, :-1])
        part_y += STEP * (ahead[1:] - ahead[:-1])
        np.clip(part_x, -limit_x, limit_x, out=part_x)
        np.clip(part_y, -limit_y, limit_y, out=part_y)
        np.add(flow_x, flow_y, out=flow)
        flow[:, 1:] -= part_x
        flow[1:] -= part_y
        flow -= cost
        flow *= STEP
        flow += inside
        np.clip(flow, 0.0, 1.0, out=flow)
        flow *= free
        np.multiply(flow, 2.0, out=ahead)
        ahead -= inside
        inside, flow = flow, inside
    return inside > 0.5
