"""`enhance`: a region with another contrast, sharpness or noise, or its edges.

It starts from the original pixels in the window of the view, before they are enlarged or shrunk to
a view.
"""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from medgym.errors import ToolError
from medgym.redrawn import Levels, brightness, levels_of, redrawn, whole_view
from medgym.tool import BoxArgument, Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import Workspace

How = Literal["clahe", "gamma", "invert", "sharpen", "denoise", "edges"]

SAID: dict[How, str] = {
    "clahe": "with more local contrast",
    "gamma": "with another gamma",
    "invert": "inverted",
    "sharpen": "sharpened",
    "denoise": "with less noise",
    "edges": "as edges",
}

GAMMA = 0.5
"""The exponent where none is given: it brightens what is dark."""

CLIP = 0.02
"""The limit of CLAHE's local contrast, as a share of a tile's pixels."""

RADIUS, AMOUNT = 2.0, 1.5
"""Sharpening: the standard deviation of the Gaussian in pixels, and how much of what it takes away
is added."""

STRENGTH = 0.8
"""Denoising: how far patches that are averaged may differ, in standard deviations of the noise."""

PATCH, DISTANCE = 3, 4
"""Denoising: the side of a patch, and how far others are looked for, in pixels."""


class Enhance(Tool):
    """Show a region so that details stand out: by local contrast (clahe), gamma, invert, sharpen,
    denoise or edges."""

    name = "enhance"
    caches = True  # denoising takes most of a second

    class Args(ToolArgs):
        """What to do with which region."""

        view: ViewNumber
        how: How
        box: Annotated[
            BoxArgument | None, Field(description="[x0, y0, x1, y1]; the whole view if omitted")
        ] = None
        gamma: Annotated[
            float | None, Field(ge=0.1, le=10, description="of gamma; below 1 brightens")
        ] = None

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A view of the region as large as possible; zooming into it shows the original pixels.

        `data` holds `image`, `box_px` and `how`.
        """
        if args.gamma is not None and args.how != "gamma":
            raise ToolError(f"enhance: gamma is none of {args.how}; expected it left out", "name")
        view = workspace.view(args.view)
        if args.box is None:
            box_px = whole_view(workspace, view)
        else:
            box_px = workspace.box_px(args.view, args.box)
        levels = levels_of(workspace.images[view.image], view.place, box_px, workspace.view_size)
        made = enhanced(levels, args.how, GAMMA if args.gamma is None else args.gamma)
        shown = redrawn(workspace, view.image, view.place, box_px, made, self.name)
        data = {"image": view.image, "box_px": list(box_px), "how": args.how}
        return ToolResult(f"Shown {SAID[args.how]}.", (shown,), data)


def enhanced(levels: Levels, how: How, gamma: float = GAMMA) -> Levels:
    """The levels of a region, changed."""
    from skimage import exposure, filters, restoration

    # Not -1: `unsharp_mask` of scikit-image 0.26 then filters rows, and leaves most pixels unset.
    colours = 2 if levels.ndim == 3 else None
    if how == "gamma":
        return levels**gamma
    if how == "invert":
        return 1.0 - levels
    if float(levels.min()) == float(levels.max()) or min(levels.shape[:2]) < 2:
        return np.zeros(levels.shape[:2]) if how == "edges" else levels
    made: Any
    if how == "clahe":
        made = exposure.equalize_adapthist(levels, clip_limit=CLIP)
    elif how == "sharpen":
        made = filters.unsharp_mask(levels, RADIUS, AMOUNT, channel_axis=colours)
    elif how == "denoise":
        noise = _noise(brightness(levels))
        made = restoration.denoise_nl_means(
            levels, PATCH, DISTANCE, STRENGTH * noise, sigma=noise, channel_axis=colours
        )
    else:
        edges = filters.scharr(brightness(levels))
        made = edges / max(float(edges.max()), 1e-6)
    return np.asarray(made, np.float64)


def _noise(grey: Levels) -> float:
    """The standard deviation of the noise (Immerkaer 1996): what a filter leaves that sees neither
    edges nor slopes."""
    from scipy.ndimage import convolve

    left = convolve(grey, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64))
    return max(float(np.sqrt(np.pi / 2) * np.abs(left).mean() / 6), 1e-4)
