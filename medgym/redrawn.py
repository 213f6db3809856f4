"""Original pixels as levels that a tool can change, and changed levels as a view.

A tool that shows changed pixels, such as a contrast stretch, starts from the original pixels in the
window of a view. It never starts from the picture of a view.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgym.imaging.grey import Window
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import Box, Study
from medgym.workspace import View, Workspace

Levels = NDArray[np.float64]
"""(height, width), or (height, width, 3) of colours: 0 is black and 1 is white."""

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""The weights of red, green and blue in the brightness of a colour (ITU-R BT.601)."""


def whole_view(workspace: Workspace, view: View) -> Box:
    """All of a view as whole original pixels."""
    return workspace.box_px(view.number, (0.0, 0.0, *workspace.scale(view)))


def levels_of(opened: OpenedImage, place: ImagePlace, box_px: Box, view_size: int) -> Levels:
    """The levels of a region of whole original pixels, as its window shows them.

    Of a region with twice the pixels of a view or more on a side, they are the means of blocks,
    still as many as a view has: so a change of single pixels, such as sharpening, can be seen.
    Of a smaller one, a windowed value has its level between the grey levels of a picture too, so
    that what a window hardly shows can still be stretched.

    Raises:
        ToolError: there is no such place.
        UserError: it cannot be read.
    """
    width, height = int(box_px[2] - box_px[0]), int(box_px[3] - box_px[1])
    factor = max(width, height) // view_size
    if factor <= 1:
        return _levels(opened.region(place, box_px))
    size = max(1, width // factor), max(1, height // factor)
    drawn = np.asarray(opened.render(place, box_px, size)) / 255.0
    grey = bool((drawn == drawn[..., :1]).all())
    return drawn[..., 0] if grey else drawn


def brightness(levels: Levels) -> Levels:
    """Levels of grey: the brightness of colours."""
    return levels if levels.ndim == 2 else levels @ LUMINANCE


def redrawn(
    workspace: Workspace, image: int, place: ImagePlace, box_px: Box, levels: Any, made_by: str
) -> View:
    """A view of a region with changed levels, (height, width) of any size with or without colours,
    as large as by the tool `zoom`."""
    shown = workspace.look(image, box_px, enlarge=True, made_by=made_by, **vars(place))
    pixels = np.rint(np.clip(levels, 0.0, 1.0) * 255.0).astype(np.uint8)
    height, width = pixels.shape[:2]
    picture = Study(pixels).render((0.0, 0.0, float(width), float(height)), shown.size)
    return workspace.overlay(shown, picture, made_by)


def _levels(study: Study) -> Levels:
    width, height = study.size
    window = study.window
    linear = isinstance(window, Window) and window.function != "SIGMOID" and window.width > 1
    if not linear or study.pixels.dtype == np.uint8:
        drawn = np.asarray(study.render((0.0, 0.0, float(width), float(height)), (width, height)))
        return (drawn[..., 0] if study.pixels.ndim == 2 else drawn) / 255.0
    assert isinstance(window, Window)
    is_dicom = window.function == "LINEAR"
    centre, wide = window.centre - 0.5 * is_dicom, window.width - 1.0 * is_dicom
    with np.errstate(over="ignore", invalid="ignore"):
        levels = (study.pixels.astype(np.float64) - centre) / wide + 0.5
    levels = np.clip(levels, 0.0, 1.0)
    levels = 1.0 - levels if window.inverted else levels
    levels = np.nan_to_num(levels, nan=0.0)
    if study.hidden is not None:
        levels[study.hidden] = 0.0
    return levels
