"""How much memory the images take that can be reached from the first one of a study."""

from collections.abc import Mapping

from medgym.imaging.imaging_study import Plane

KEPT = 32 * 2**20
"""Bytes of decoded pixels that are kept of a study of many images, beside the first image."""

WHOLE = 2**25
"""Pixels of the largest image of such a study that is decoded whole to show a part of it."""

WORKING = 32
"""Bytes for each pixel that decoding one image of many, combining it with others and showing it
take at their most."""


def reach_need(planes: Mapping[str, Plane]) -> int:
    """Bytes of memory that an episode may take to show other images of a study than the first."""
    sizes = [(plane.size[0] * plane.size[1], plane.count) for plane in planes.values()]
    if sum(count for _, count in sizes) == 1:
        return 0
    largest = max((size for size, _ in sizes if size <= WHOLE), default=0)
    return WORKING * largest + min(KEPT, sum(8 * size * count for size, count in sizes))
