"""The region that a call asks about, and its original pixels as a model is shown them.

A model sees the pixels of the image itself, in the window of the view, and never a rendered view:
what it finds does not depend on the size at which the policy sees the region.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from medgym.imaging.study import Box
from medgym.workspace import MAX_ASPECT, View, Workspace

MOST_SIDE = 2048
"""The greatest side of the picture that a model is shown, in pixels; a larger region is averaged
down to it. Models take 224 to 1024 pixels a side."""


@dataclass(frozen=True)
class AskedRegion:
    """A region of a view.

    Attributes:
        view: the view. workspace: of the call.
        box_px: the region, in whole original pixels.
        is_whole: whether it is the whole view.
    """

    workspace: Workspace
    view: View
    box_px: Box
    is_whole: bool

    def picture(self) -> Image.Image:
        """The original pixels, as RGB: each is one pixel, unless there are too many."""
        size = picture_size(self.box_px)
        return self.workspace.images[self.view.image].render(self.view.place, self.box_px, size)

    def to_px(self, box: Sequence[float], size: tuple[int, int]) -> Box:
        """A box of a picture of the region as original pixels: within the region, and of a pixel at
        least on each side."""
        x0, y0, x1, y1 = self.box_px
        left, right = _side(box[0], box[2], x0, x1, size[0])
        top, bottom = _side(box[1], box[3], y0, y1, size[1])
        return left, top, right, bottom

    def where(self) -> dict[str, Any]:
        """What the record of a call says of its region."""
        data: dict[str, Any] = {"image": self.view.image, "box_px": list(self.box_px)}
        if self.workspace.images[self.view.image].has_many:
            data |= {"plane": self.view.plane, "index": self.view.index}
        return data


def asked(workspace: Workspace, number: int, box: Sequence[float] | None) -> AskedRegion:
    """The region of a call: a box of a view, or the whole view.

    Raises:
        ToolError: no such view, or a box that is empty or reaches outside it.
    """
    view = workspace.view(number)
    if box is not None:
        return AskedRegion(workspace, view, workspace.box_px(number, box), False)
    x0, y0, x1, y1 = view.box_px
    whole = float(np.floor(x0)), float(np.floor(y0)), float(np.ceil(x1)), float(np.ceil(y1))
    return AskedRegion(workspace, view, whole, True)


def picture_size(box_px: Box) -> tuple[int, int]:
    """(width, height) of a region as a model is shown it.

    Image processors refuse slivers, so one is stretched, as in views.
    """
    width, height = box_px[2] - box_px[0], box_px[3] - box_px[1]
    factor = min(1.0, MOST_SIDE / max(width, height))
    across, down = max(1, round(width * factor)), max(1, round(height * factor))
    return max(across, -(-down // MAX_ASPECT)), max(down, -(-across // MAX_ASPECT))


def _side(low: float, high: float, first: float, last: float, length: int) -> tuple[float, float]:
    """One side of a box, from pixels of a picture to those of the region from first to last."""
    scale = (last - first) / length
    ends = np.clip([first + min(low, high) * scale, first + max(low, high) * scale], first, last)
    start, end = float(ends[0]), float(ends[1])
    if end - start < 1:
        start = min(max(first, (start + end - 1) / 2), last - 1)
        end = start + 1
    return start, end
