"""`frame`: the frames of a clip by number or time, several at once, and what changed between two.

`slice` shows one whole frame by its index. `frame` knows when a frame is shown, keeps the region of
the view, and shows several frames as small views, each of them to be addressed like any other.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from medgym.errors import ToolError
from medgym.imaging.imaging_study import FRAME
from medgym.redrawn import levels_of, redrawn, whole_view
from medgym.tool import Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import View, Workspace

MOST = 9
"""The most frames of one call."""

ROUNDING_S = 1e-6
"""Seconds by which a time may lie before a frame that it means."""

LEAST_SHOWN = 0.02
"""The change, as a share from black to white, that is shown in full at the least: smaller ones are
noise."""


class Frame(Tool):
    """Show the region of a view in another frame of its clip, by index or by seconds: one frame,
    several at once (smaller), or what changed since an earlier one."""

    name = "frame"

    class Args(ToolArgs):
        """Which frames of the clip of which view."""

        view: ViewNumber
        index: Annotated[int | None, Field(description="from 0")] = None
        seconds: Annotated[float | None, Field(description="instead of index")] = None
        count: Annotated[int, Field(ge=1, le=MOST, description="so many frames, from that one")] = 1
        step: Annotated[int, Field(ge=1, description="from one frame to the next")] = 1
        since: Annotated[int | None, Field(description="index; shows the change since then")] = None

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A view of each frame, and when they are shown if that is known.

        `data` holds `image`, `plane`, `indices`, and where known `seconds`.
        """
        if (args.index is None) == (args.seconds is None):
            raise ToolError("frame: expected either index or seconds, and not both", "name")
        if args.count > 1 and args.since is not None:
            raise ToolError("frame: expected either count or since, and not both", "name")
        view = workspace.view(args.view)
        opened = workspace.images[view.image]
        count = opened.planes[view.plane].count
        if view.plane != FRAME or count == 1:
            raise ToolError(
                f"view {args.view} is of no clip; expected a view of an image with several frames"
            )
        times = opened.seconds(view.place)
        first = args.index if args.index is not None else _at(args.seconds or 0.0, times)
        indices = [first + number * args.step for number in range(args.count)]
        places = [replace(view.place, index=index, slab=None) for index in indices]
        for place in places:
            opened.checked(place)
        said = [] if times is None else [_when(indices, times)]
        data = {"image": view.image, "plane": view.plane, "indices": indices}
        if times is not None:
            data["seconds"] = [times[index] for index in indices]
        if args.since is not None:
            shown, change = _change(workspace, view, places[0].index, args.since)
            return ToolResult(" ".join([*said, change]), (shown,), data | {"since": args.since})
        smaller = math.ceil(math.sqrt(args.count))
        views = tuple(workspace.again(view, place, self.name, smaller) for place in places)
        return ToolResult(" ".join(said), views, data)


def _at(seconds: float, times: Sequence[float] | None) -> int:
    """The frame that is shown at a time."""
    if times is None:
        raise ToolError("the clip does not say when its frames are shown; expected index")
    last = times[-1] + times[-1] / max(1, len(times) - 1)  # it is shown as long as the others
    if not 0 <= seconds <= last:
        raise ToolError(
            f"{seconds:g} s lies outside; the frames are shown from 0 to {times[-1]:.2f} s"
        )
    return bisect_right(times, seconds + ROUNDING_S) - 1


def _when(indices: Sequence[int], times: Sequence[float]) -> str:
    each = ", ".join(f"{times[index]:.3f}" for index in indices)
    return f"Shown at {each} s of {times[-1]:.3f} s."


def _change(workspace: Workspace, view: View, index: int, since: int) -> tuple[View, str]:
    """The change of the levels of a view's region between two frames."""
    if index == since:
        raise ToolError(f"frame {index} is compared with itself; expected another index in since")
    opened = workspace.images[view.image]
    box_px = whole_view(workspace, view)
    now, before = (replace(view.place, index=each, slab=None) for each in (index, since))
    opened.checked(before)
    change, earlier = (
        levels_of(opened, place, box_px, workspace.view_size) for place in (now, before)
    )
    change = change - earlier
    greatest = float(np.abs(change).max())
    levels = 0.5 + change / (2 * max(greatest, LEAST_SHOWN))
    shown = redrawn(workspace, view.image, now, box_px, levels, Frame.name)
    return shown, (
        f"The change since frame {since}: grey is none, bright is brighter now, dark is darker. "
        f"It is {100 * float(np.abs(change).mean()):.1f} % of the range on average, "
        f"{100 * greatest:.1f} % at most."
    )
