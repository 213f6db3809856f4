"""The case of a report that is a volume: what was looked at, as pictures beside each other."""

from collections import Counter
from collections.abc import Sequence

from PIL import Image

from medgym.cases import Case, Region
from medgym.commands.slices import around
from medgym.imaging.drawing import GOLD, Mark, enlarged, marked, sheet
from medgym.imaging.opened import ImagePlace
from medgym.metrics.regions import area, placed, shows
from medgym.question import place_text
from medgym.trajectory import Look, Trajectory
from medgym.workspace import View, Workspace

SIDE = 384


def looks_sheet(
    workspace: Workspace,
    case: Case,
    image: int,
    played: Sequence[Trajectory],
    colours: Sequence[str],
) -> Image.Image:
    """The first view, the slice at which most looks were, and the closest look at it.

    Args:
        workspace: the case's, with the views that it starts with.
        image: the volume. played: episodes of the case. colours: of looks that ended in a wrong
            and in a right answer.
    """
    looks = [
        (look, colours[episode.correct])
        for episode in played
        for look in episode.looks
        if look.image == image
    ]
    start = workspace.views[image]
    tiles = [_tile(start, workspace, case, looks)]
    elsewhere = Counter(_place(look) for look, _ in looks if _place(look) != _place(start))
    for place, _ in elsewhere.most_common(1):
        whole = workspace.overview(image, place, None)
        tiles.append(_tile(whole, workspace, case, looks))
        at = [look for look, _ in looks if _place(look) == place]
        closest = min(at, key=lambda look: area(look.box_px))
        if area(closest.box_px) < area(whole.box_px):
            close = workspace.look(image, closest.box_px, enlarge=True, made_by=None, **vars(place))
            said = f"{closest.tool}{place_text(close, workspace)}"
            tiles.append((said, [enlarged(close.picture, SIDE)]))
    return sheet(tiles, 2)


def close_up(workspace: Workspace, region: Region) -> tuple[Image.Image, str]:
    """A gold region of a volume, enlarged, and its plane and index in words."""
    size = workspace.images[region.image].planes[str(region.plane)].size
    x0, y0, x1, y1 = region.box_px
    near = around(region.box_px, round(2 * max(x1 - x0, y1 - y0)), size)
    view = workspace.look(
        region.image, near, enlarge=False, made_by=None, plane=region.plane, index=region.middle
    )
    return enlarged(view.picture, SIDE), place_text(view, workspace)


def gold_of(case: Case) -> Region | None:
    """The first gold region that lies in a plane of a volume."""
    return next((each for each in placed(case) if each.plane is not None), None)


def _place(look: Look | View) -> ImagePlace:
    return ImagePlace(look.plane, look.index, look.slab)


def _tile(
    view: View, workspace: Workspace, case: Case, looks: Sequence[tuple[Look, str]]
) -> tuple[str, list[Image.Image]]:
    whole = area(view.box_px)
    marks = [
        Mark(look.box_px, colour)
        for look, colour in looks
        if _place(look) == _place(view) and area(look.box_px) < whole
    ]
    gold = [Mark(each.box_px, GOLD) for each in placed(case) if shows(view, each)]
    caption = place_text(view, workspace).removeprefix(", ")
    return caption, [marked(view.picture, view.box_px, [*marks, *gold], SIDE)]
