"""`mirror`: a region and the region opposite, to be compared with each other.

Opposite is what lies as far on the other side of the midline, in the same rows. Both regions are
shown as they are, neither is flipped, so that boxes in both mean original pixels.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from medgym.errors import ToolError
from medgym.imaging.imaging_study import FRAME, IMAGE
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import Box
from medgym.redrawn import Levels, brightness
from medgym.tool import BoxArgument, Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import Workspace

PLANES = (IMAGE, FRAME, "axial", "coronal")
"""The planes in which the patient's left and right lie beside each other, or may do so."""

SIDE = 256
"""The greatest side at which the midline is looked for."""

LEAST = 0.35
"""The symmetry from which there is a midline: an abdomen has 0.37, a brain 0.8, a perfect one 1."""

COVERED = 0.5
"""The least share of the columns that lie opposite others."""

BRIGHTEST = 98.0
"""The percentile from which all is as bright: one round bright spot, such as a lesion in PET, is
more symmetric than the body in which it lies."""

FINE = 3.0
"""Pixels: the standard deviation of the Gaussian that fine structure is without."""


class Mirror(Tool):
    """Show a region and the opposite one, on the other side of the midline of the body or of the
    image, as two views."""

    name = "mirror"

    class Args(ToolArgs):
        """Which region, and which midline."""

        view: ViewNumber
        box: BoxArgument
        about: Annotated[
            Literal["body", "image"], Field(description="whose midline; that of the image is exact")
        ] = "body"

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """Two views of the same size, first that of the box. Where the opposite region reaches
        outside the image, both are narrower.

        `data` holds `image`, `box_px`, `mirrored_px`, `midline_px`, and for the body `symmetry`.
        """
        view = workspace.view(args.view)
        if view.plane not in PLANES:
            raise ToolError(
                f"left and right do not lie beside each other in the plane {view.plane[:20]}; "
                "expected a view of an axial or coronal one"
            )
        box_px = workspace.box_px(args.view, args.box)
        opened = workspace.images[view.image]
        width, _ = opened.size(view.place)
        data: dict[str, object] = {"image": view.image}
        if args.about == "image":
            middle, said = width / 2, "Mirrored at the middle of the image"
        else:
            middle, symmetry = midline(opened, view.place)
            data["symmetry"] = symmetry
            said = f"Mirrored at the body's midline (symmetry {symmetry:.2f} of 1)"
        pair = opposite(box_px, middle, width)
        if pair is None:
            raise ToolError(
                "the opposite region lies outside the image; expected a box closer to the midline"
            )
        shown = tuple(
            workspace.look(view.image, each, enlarge=True, made_by=self.name, **vars(view.place))
            for each in pair
        )
        data |= {"box_px": list(pair[0]), "mirrored_px": list(pair[1]), "midline_px": middle}
        text = f"{said}, column {middle:.1f} of {width}; the second view is the opposite region."
        return ToolResult(text, shown, data)


def opposite(box_px: Box, middle: float, width: int) -> tuple[Box, Box] | None:
    """The part of a box whose mirror image lies inside the image, and that mirror image.

    Args:
        middle: the midline, at a whole or a half column.
    """
    x0, y0, x1, y1 = box_px
    x0, x1 = max(x0, 2 * middle - width), min(x1, 2 * middle)
    if x0 >= x1:
        return None
    return (x0, y0, x1, y1), (2 * middle - x1, y0, 2 * middle - x0, y1)


def midline(opened: OpenedImage, place: ImagePlace) -> tuple[float, float]:
    """The column at which the image is most like its mirror image, to half a pixel, and how much:
    the share of what stands out from the mean that has its like on the other side.

    Raises:
        ToolError: there is none.
    """
    width, height = opened.size(place)
    shrunk = max(1.0, max(width, height) / SIDE)
    size = max(1, round(width / shrunk)), max(1, round(height / shrunk))
    box_px = (0.0, 0.0, float(width), float(height))
    levels = brightness(np.asarray(opened.render(place, box_px, size)) / 255.0)
    twice, symmetry = _axis(np.minimum(levels, np.percentile(levels, BRIGHTEST)))
    if not symmetry >= LEAST:
        raise ToolError(
            f"the image has no midline that can be seen (symmetry {max(symmetry, 0.0):.2f} of 1); "
            'expected about "image"'
        )
    return round(twice * width / size[0]) / 2, symmetry


def _axis(levels: Levels) -> tuple[float, float]:
    """Twice the midline, in pixels from the left edge, and the symmetry at it.

    Coarse and fine structure count the same: the outline of the body, and what lies in its middle.
    """
    from scipy.ndimage import gaussian_filter

    fine = levels - gaussian_filter(levels, FINE)
    if min(float(levels.std()), float(fine.std())) < 1e-4:
        return 0.0, 0.0
    width = levels.shape[1]
    alike: Levels = np.zeros(2 * width - 1)
    for part in (levels - levels.mean(), fine):
        # Column x lies opposite column s - 1 - x, where s is twice the midline.
        spectrum = np.fft.rfft(part, 2 * width)
        products = np.fft.irfft((spectrum**2).sum(axis=0), 2 * width)[: 2 * width - 1]
        energy = np.concatenate([[0.0], np.cumsum((part**2).sum(axis=0))])
        last = np.arange(1, 2 * width)
        there = energy[np.minimum(last, width)] - energy[np.maximum(last - width, 0)]
        alike += products / np.maximum(there, 1e-9 * energy[-1] + 1e-12) / 2
    edge = int(np.ceil(COVERED * width)) - 1
    best = edge + int(np.argmax(alike[edge : len(alike) - edge]))
    found = float(best + 1)
    if 0 < best < len(alike) - 1:
        before, at, behind = alike[best - 1 : best + 2]
        bend = before - 2 * at + behind
        found += float(np.clip(0.5 * (before - behind) / bend, -0.5, 0.5)) if bend < 0 else 0.0
    return found, float(alike[best])
