"""Volumes in pictures for people: some slices of a plane, and where a policy looked."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from medgym.cases import Case
from medgym.imaging.drawing import GOLD, Mark, marked, sheet
from medgym.imaging.opened import ImagePlace
from medgym.imaging.study import acquired_plane
from medgym.metrics.regions import placed, shows
from medgym.trajectory import Look
from medgym.workspace import View, Workspace

MOST = 12
"""Slices of a volume on a sheet of cases."""

COLUMNS = 4
SIDE = 768


def spread(count: int, most: int, wanted: Collection[int] = ()) -> list[int]:
    """At most so many of `count` slices: those that are wanted first, the others evenly between the
    ends."""
    most = min(count, most)
    even = {round(at * (count - 1) / max(1, most - 1)) for at in range(most)}
    first = sorted(each for each in wanted if 0 <= each < count)[:most]
    rest = sorted(even.difference(first))
    spare = min(most - len(first), len(rest))
    step = (len(rest) - 1) / max(1, spare - 1)
    return sorted({*first, *(rest[round(at * step)] for at in range(spare))})


def some_slices(
    case: Case, workspace: Workspace, image: int, *, side: int, gold: bool
) -> Image.Image:
    """A sheet of slices of a volume; with `gold` its regions are boxed on them."""
    opened = workspace.images[image]
    regions = [each for each in placed(case) if each.image == image] if gold else []
    regions = [each for each in regions if each.plane in opened.planes]
    plane = next(
        (each.plane for each in regions if each.plane), acquired_plane(opened.study, opened.planes)
    )
    wanted = {each.middle for each in regions if each.plane == plane}
    tiles = []
    for index in spread(opened.planes[plane].count, MOST, wanted):
        view = workspace.overview(image, ImagePlace(plane, index), None)
        marks = [Mark(each.box_px, GOLD) for each in regions if shows(view, each)]
        picture = marked(view.picture, view.box_px, marks, side // 2)
        tiles.append((f"{plane} {index}", [picture]))
    return sheet(tiles, COLUMNS)


def around(
    box_px: Sequence[float], step: int, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A square window around a box whose side is a whole number of steps, within the image."""
    longest = max(box_px[2] - box_px[0], box_px[3] - box_px[1])
    side = -(-longest // step) * step
    window: list[float] = []
    for low, high, most in ((box_px[0], box_px[2], size[0]), (box_px[1], box_px[3], size[1])):
        length = min(side, most)
        start = min(max(round((low + high - length) / 2), 0), most - length)
        window += [start, start + length]
    return window[0], window[2], window[1], window[3]


def draw_overviews(out: Path, case: Case, workspace: Workspace, looks: Sequence[Look]) -> None:
    """`overview-IMAGE.png`: where a policy looked, and where it should have.

    Of a volume there is one for each slice or slab that it looked at and that shows gold, as
    `overview-IMAGE-PLANE-INDEX.png`.

    Args:
        workspace: with the views that the episode started with, and no others.
    """
    first = len(workspace.views)
    for image, view in enumerate(workspace.views[: len(case.images)]):
        start = _whole(view)
        places = {start: f"overview-{image}.png"}
        if workspace.images[image].has_many:
            seen = [_place(look) for look in looks if look.image == image]
            gold = [
                ImagePlace(each.plane, each.middle)
                for each in placed(case)
                if each.image == image and each.plane is not None
            ]
            for place in (*seen, *gold):
                places.setdefault(place, f"overview-{image}-{_name(place)}.png")
        for place, name in places.items():
            shown = view if place == start else workspace.overview(image, place, None)
            regions = [Mark(each.box_px, GOLD) for each in placed(case) if shows(shown, each)]
            marks = [
                Mark(look.box_px, label=str(first + number))
                for number, look in enumerate(looks)
                if look.image == image and _place(look) == place
            ]
            marked(shown.picture, shown.box_px, [*regions, *marks], SIDE).save(out / name)


def _whole(view: View) -> ImagePlace:
    return replace(view.place, window=None)


def _place(look: Look) -> ImagePlace:
    return ImagePlace(look.plane, look.index, look.slab)


def _name(place: ImagePlace) -> str:
    plane = re.sub(r"[^\w.-]+", "-", place.plane)
    slab = f"-{place.slab.how}-{place.slab.count}" if place.slab is not None else ""
    return f"{plane}-{place.index}{slab}"
