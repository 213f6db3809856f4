"""`crop`: a region of a view at its original size, never enlarged.

What it shows within `view_size` are the original pixels themselves, bit for bit; a larger region is
averaged down by area. (A sliver is widened to the narrowest aspect that a view may have.)
"""

from medgym.tool import BoxArgument, Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import Workspace


class Crop(Tool):
    """Cut out: shows a region of a view at its original size, never enlarged."""

    name = "crop"

    class Args(ToolArgs):
        """Which region of which view."""

        view: ViewNumber
        box: BoxArgument

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A view of the region, one view pixel for each original pixel where `view_size` allows.

        `data` holds `image` and `box_px`, the region in whole original pixels.
        """
        image = workspace.view(args.view).image
        box_px = workspace.box_px(args.view, args.box)
        view = workspace.look(image, box_px, enlarge=False, made_by=self.name)
        return ToolResult(views=(view,), data={"image": image, "box_px": list(box_px)})
