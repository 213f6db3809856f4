"""`window`: the region of a view in other grey values: a centre and a width, or a preset."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from medgym.errors import ToolError
from medgym.imaging.grey import PRESETS, Window
from medgym.tool import Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import View, Workspace

Preset = Literal["lung", "bone", "brain", "soft tissue", "liver", "mediastinum"]


class WindowTool(Tool):
    """Show a view in another window of values: a centre and a width, or a preset of a CT."""

    name = "window"

    class Args(ToolArgs):
        """Which window of which view."""

        view: ViewNumber
        centre: Annotated[float | None, Field(description="in the unit of the values")] = None
        width: Annotated[float | None, Field(gt=0)] = None
        preset: Annotated[Preset | None, Field(description="instead of centre and width")] = None

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A view of the same region, as large as it was.

        `data` holds `image`, `centre` and `width`.
        """
        seen = workspace.view(args.view)
        window = _chosen(args, workspace, seen)
        shown = workspace.again(seen, replace(seen.place, window=window), self.name)
        data = {"image": seen.image, "centre": window.centre, "width": window.width}
        return ToolResult(views=(shown,), data=data)


def _chosen(args: WindowTool.Args, workspace: Workspace, seen: View) -> Window:
    opened = workspace.images[seen.image]
    if args.preset is not None and args.centre is None and args.width is None:
        if opened.start.unit != "HU":
            raise ToolError(
                f"the preset {args.preset} needs Hounsfield units, and image {seen.image} has "
                "none; expected centre and width"
            )
        return PRESETS[args.preset]
    if args.preset is None and args.centre is not None and args.width is not None:
        return Window(args.centre, args.width, opened.window_function(seen.place))
    raise ToolError("window: expected centre and width, or a preset, and not both", "name")
