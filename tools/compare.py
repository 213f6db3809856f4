"""`compare`: a current and a prior image, registered, beside each other and as a difference.

The prior is shown as it is, where it corresponds to the view, so that boxes in it mean its original
pixels. Only in the difference is it turned and stretched.
"""

import math
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medgym.errors import ToolError
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import Box
from medgym.redrawn import Levels, brightness, levels_of, redrawn, whole_view
from medgym.registration import Registration, registered, warped
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import View, Workspace

SIDE = 96
"""The longer side of the pictures that are registered."""

MOST_SIDE = 192
"""The longest side of the prior's, where it shows more."""

LEAST, LEAST_DETAIL = 0.5, 0.3
"""The correlations, of the levels and of fine structure alone, from which two images match. Levels
of unlike images correlate by up to 0.75, as long as both are bright in the middle; their fine
structure by up to 0.25, that of the same one with 0.75 and more."""

DOUBTFUL, CLEARLY = 0.75, 0.1
"""The fine structure below which it is asked whether one image is flipped, since a body is much
like its mirror image; and by how much that has to correlate better."""

LEAST_SHOWN = 0.05
"""The change, as a share from black to white, that is shown in full at the least."""


class Compare(Tool):
    """Show what changed since a prior image: the part of it that matches a view of the current one,
    and the difference. Says how well they match."""

    name = "compare"
    caches = True  # registering takes half a second

    class Args(ToolArgs):
        """Which two views, of different images."""

        view: Annotated[int, Field(ge=0, description="number of the current view")]
        prior_view: Annotated[int, Field(ge=0, description="number of a view of the prior image")]

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """Two views: the prior where it corresponds to the view, and the difference, in the frame
        of the current view.

        `data` holds `image`, `prior_image`, `prior_px` (the corresponding box), `correlation`,
        `detail`, `overlap`, `turned_degrees`, and `matrix` (2 x 3, from pixels of the image to
        pixels of the prior).
        """
        now, before = workspace.view(args.view), workspace.view(args.prior_view)
        if now.image == before.image:
            raise ToolError(
                f"views {args.view} and {args.prior_view} are of the same image; expected views of "
                "two"
            )
        current, prior = (workspace.images[view.image] for view in (now, before))
        here, there = whole_view(workspace, now), whole_view(workspace, before)
        matrix, found = _registered(current, now, here, prior, before, there)
        box_px = _corresponding(matrix, here, prior.size(before.place))
        shown = workspace.look(
            before.image, box_px, enlarge=True, made_by=self.name, **vars(before.place)
        )
        levels, greatest = _difference(
            current, now, here, prior, before, box_px, matrix, workspace.view_size
        )
        difference = redrawn(workspace, now.image, now.place, here, levels, self.name)
        alike = found.matrix  # between square pixels; others would bend the angle
        turn = math.degrees(math.atan2(alike[1, 0] - alike[0, 1], alike[0, 0] + alike[1, 1]))
        data: dict[str, Any] = {
            "image": now.image,
            "prior_image": before.image,
            "prior_px": list(box_px),
            "correlation": found.correlation,
            "detail": found.detail,
            "overlap": found.overlap,
            "matrix": matrix.tolist(),
            "turned_degrees": turn,
        }
        text = (
            f"They match with a correlation of {found.correlation:.2f} (details "
            f"{found.detail:.2f}); the prior covers {100 * found.overlap:.0f} % and is turned by "
            f"{turn:.1f} degrees. First view: the matching part of the prior. Second: the change "
            "since; grey is none, bright is brighter now, dark is darker, by "
            f"{100 * greatest:.0f} % of the range at most."
        )
        return ToolResult(text, (shown, difference), data)


def _registered(
    current: OpenedImage, now: View, here: Box, prior: OpenedImage, before: View, there: Box
) -> tuple[NDArray[np.float64], Registration]:
    """The map from original pixels of the current image to those of the prior.

    Both are drawn with the same millimetres per pixel, where the file says them; else so that both
    views are of the same size.
    """
    unit_now, unit_before = _units(current, now, here, prior, before, there)
    side = max((here[2] - here[0]) * unit_now[0], (here[3] - here[1]) * unit_now[1]) / SIDE
    far = max((there[2] - there[0]) * unit_before[0], (there[3] - there[1]) * unit_before[1])
    side = max(side, far / MOST_SIDE)
    first, step_now = _drawn(current, now, here, unit_now, side)
    second, step_before = _drawn(prior, before, there, unit_before, side)
    found = registered(first, second)
    fits = (0.0, 0.0) if found is None else (found.correlation, found.detail)
    if found is None or fits[0] < LEAST or fits[1] < LEAST_DETAIL:
        raise ToolError(
            f"the two images do not match (correlation {fits[0]:.2f}, of details {fits[1]:.2f}); "
            "expected views of the same region of the same patient"
        )
    if found.detail < DOUBTFUL:
        flipped = registered(first, second[:, ::-1])
        if flipped is not None and flipped.detail > found.detail + CLEARLY:
            raise ToolError(
                "the two images match better with one of them flipped left to right (details "
                f"{flipped.detail:.2f}, not {fits[1]:.2f}); expected views with the same side on "
                "the left"
            )
    to_small = np.array([[1 / step_now[0], 0, -here[0] / step_now[0]],
                         [0, 1 / step_now[1], -here[1] / step_now[1]], [0, 0, 1]])  # fmt: skip
    to_prior = np.array([[step_before[0], 0, there[0]], [0, step_before[1], there[1]]])
    matrix = to_prior @ np.vstack([found.matrix, [0, 0, 1]]) @ to_small
    return matrix, found


def _units(
    current: OpenedImage, now: View, here: Box, prior: OpenedImage, before: View, there: Box
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The width and the height of a pixel of each, in one unit for both."""
    spacings = [
        image.spacing(view.place, box)
        for image, view, box in ((current, now, here), (prior, before, there))
    ]
    (one, origin), (other, from_there) = spacings
    if one is not None and other is not None and origin == from_there:
        return (one[1], one[0]), (other[1], other[0])
    wide, high = 1.0, current.aspect(now.place)
    size = max((here[2] - here[0]) * wide, (here[3] - here[1]) * high)
    aspect = prior.aspect(before.place)
    unit = size / max(there[2] - there[0], (there[3] - there[1]) * aspect)
    return (wide, high), (unit, unit * aspect)


def _drawn(
    opened: OpenedImage, view: View, box_px: Box, unit: tuple[float, float], side: float
) -> tuple[Levels, tuple[float, float]]:
    """A region with square pixels of a side, and its original pixels in each of them."""
    width, height = box_px[2] - box_px[0], box_px[3] - box_px[1]
    size = max(1, round(width * unit[0] / side)), max(1, round(height * unit[1] / side))
    drawn = np.asarray(opened.render(view.place, box_px, size)) / 255.0
    return brightness(drawn), (width / size[0], height / size[1])


def _corresponding(matrix: NDArray[np.float64], box_px: Box, size: tuple[int, int]) -> Box:
    """The box around a region as it lies in the prior, as far as the prior goes."""
    x0, y0, x1, y1 = box_px
    corners = matrix @ np.array([[x0, x1, x1, x0], [y0, y0, y1, y1], [1, 1, 1, 1]])
    low = np.maximum(np.floor(corners.min(axis=1)), 0)
    high = np.minimum(np.ceil(corners.max(axis=1)), size)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _difference(
    current: OpenedImage,
    now: View,
    here: Box,
    prior: OpenedImage,
    before: View,
    box_px: Box,
    matrix: NDArray[np.float64],
    view_size: int,
) -> tuple[Levels, float]:
    """Levels of the change, grey where there is none or no prior, and the greatest change.

    The prior has first been given the mean and the standard deviation of the current image, where
    both are.
    """
    levels = brightness(levels_of(current, now.place, here, view_size))
    earlier = brightness(levels_of(prior, before.place, box_px, view_size))
    step = _step(levels, here)
    step_there = _step(earlier, box_px)
    small = np.array([[step[0], 0, here[0]], [0, step[1], here[1]], [0, 0, 1]])
    to_prior = np.array([[1 / step_there[0], 0, -box_px[0] / step_there[0]],
                         [0, 1 / step_there[1], -box_px[1] / step_there[1]]])  # fmt: skip
    both = to_prior @ np.vstack([matrix, [0, 0, 1]]) @ small
    lying = warped(earlier, both, (levels.shape[0], levels.shape[1]))
    known = ~np.isnan(lying)
    one, other = levels[known], lying[known]
    gain = float(one.std()) / max(float(other.std()), 1e-6)
    change = np.where(known, levels - one.mean() - gain * (np.nan_to_num(lying) - other.mean()), 0)
    greatest = float(np.abs(change).max())
    return 0.5 + change / (2 * max(greatest, LEAST_SHOWN)), greatest


def _step(levels: Levels, box_px: Box) -> tuple[float, float]:
    height, width = levels.shape
    return (box_px[2] - box_px[0]) / width, (box_px[3] - box_px[1]) / height
