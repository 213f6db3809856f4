"""A structure followed through a volume, from image to image of the addressed plane.

The next image is searched where the last one had the structure, a little enlarged. It ends where
nothing is found, or something else: of another place or another size, much less sure, or of another
contrast, as the organ in which a lesion lies.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from medgym.errors import ToolError

from .intensity import intensity
from .measure import Runs
from .request import (
    PromptKind,
    Segmentation,
    SegmentationThrough,
    SegmentPrompt,
    SegmentRequest,
)

GROWTH = 0.25
"""By how much of its sides the last box is enlarged, on each side, to search the next image."""

ALIKE = 0.4
"""Least overlap (Dice) of what is found on neighbouring images."""

FADED = 0.7
"""Least share of the last image's score: where a structure has ended, what lies there stands apart
less."""

Segment = Callable[[Sequence[SegmentRequest]], Sequence[Segmentation | ToolError | None]]


def followed(
    segment: Segment, takes: Sequence[PromptKind], request: SegmentRequest
) -> SegmentationThrough | ToolError | None:
    """The structure of a request on all images that it reaches, without a gap."""
    (first,) = segment([replace(request, place=replace(request.place, slab=None))])
    if not isinstance(first, Segmentation):
        return first
    images = {request.place.index: first}
    count = request.image.planes[request.place.plane].count
    for step in (-1, 1):
        last = first
        index = request.place.index + step
        while 0 <= index < count:
            found = _next(segment, takes, request.at(index), last, index - step)
            if found is None:
                break
            images[index] = last = found
            index += step
    score = sum(found.score for found in images.values()) / len(images)
    return SegmentationThrough(dict(sorted(images.items())), score)


def _next(
    segment: Segment,
    takes: Sequence[PromptKind],
    request: SegmentRequest,
    last: Segmentation,
    index: int,
) -> Segmentation | None:
    """The structure on the image of a request, as it was on that of another index."""
    runs = Runs.of(last)
    x0, y0, x1, y1 = runs.box_px
    wide, high = GROWTH * (x1 - x0), GROWTH * (y1 - y0)
    width, height = request.size
    box_px = (
        float(max(0, int(x0 - wide))),
        float(max(0, int(y0 - high))),
        float(min(width, int(x1 + wide) + 1)),
        float(min(height, int(y1 + high) + 1)),
    )
    prompt = SegmentPrompt(box_px=box_px, text=request.prompt.text)
    if not set(prompt.kinds) <= set(takes):
        prompt = replace(prompt, text=None)
    (found,) = segment([replace(request, prompt=prompt, before=last)])
    if not isinstance(found, Segmentation) or found.score < FADED * last.score:
        return None
    here = Runs.of(found)
    levels, before = intensity(request, here), intensity(request.at(index), runs)
    is_alike = levels is None or before is None or levels.stands_out_as(before)
    return found if is_alike and dice(runs, here) >= ALIKE else None


def dice(one: Runs, other: Runs) -> float:
    """The overlap of two masks of one image: 2 x the common area / the sum of the areas."""
    boxes = one.box_px, other.box_px
    x0, y0 = (int(min(box[i] for box in boxes)) for i in (0, 1))
    x1, y1 = (int(max(box[i] for box in boxes)) for i in (2, 3))
    common = (one.within((x0, y0, x1, y1)) & other.within((x0, y0, x1, y1))).sum()
    return 2 * float(common) / (one.area_px + other.area_px)
