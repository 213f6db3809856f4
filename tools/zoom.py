"""`zoom`: a region of a view, as large as a view can be.

It resamples the original pixels, never a rendered view, so that a zoom of a zoom shows exactly what
one zoom of the same region shows.
"""

from typing import ClassVar

from medgym.tool import BoxArgument, Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import Workspace


class Zoom(Tool):
    """Look closer: shows a region of a view as large as possible, from the original pixels."""

    name = "zoom"
    deadline_s = None  # it only calculates which region to draw
    enlarges: ClassVar[bool] = True

    class Args(ToolArgs):
        """Which region of which view."""

        view: ViewNumber
        box: BoxArgument

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A view of the region that fills `view_size` (aspect kept); any region of a pixel or more.

        `data` holds `image` and `box_px`, the region in whole original pixels.
        """
        seen = workspace.view(args.view)
        box_px = workspace.box_px(args.view, args.box)
        view = workspace.look(
            seen.image, box_px, enlarge=self.enlarges, made_by=self.name, **vars(seen.place)
        )
        return ToolResult(views=(view,), data={"image": seen.image, "box_px": list(box_px)})
