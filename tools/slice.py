"""`slice`: another image of the study that a view is of, whole, alone or with its neighbours.

The plane stays that of the view unless another is named, and the window stays that of the view.
"""

from typing import Annotated

from pydantic import Field

from medgym.errors import ToolError
from medgym.imaging.slabs import How, Slab
from medgym.tool import Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import Workspace

MOST = 10_000
"""The most images of a slab, which ends where its plane does."""


class SliceTool(Tool):
    """Show another slice of a volume, or another frame: its plane, and its index or millimetres.
    A slab shows neighbouring slices as one."""

    name = "slice"

    class Args(ToolArgs):
        """Which image of the study of which view."""

        view: ViewNumber
        plane: Annotated[str | None, Field(description="that of the view if omitted")] = None
        index: Annotated[int | None, Field(description="from 0")] = None
        mm: Annotated[float | None, Field(description="instead of index")] = None
        slab: Annotated[int, Field(ge=1, le=MOST, description="how many slices as one")] = 1
        how: Annotated[How, Field(description="of a slab")] = "mean"

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A view of the whole image, and where it lies in millimetres if that is known.

        `data` holds `image`, `plane` and `index`.
        """
        if (args.index is None) == (args.mm is None):
            raise ToolError("slice: expected either index or mm, and not both", "name")
        seen = workspace.view(args.view)
        opened = workspace.images[seen.image]
        plane = seen.plane if args.plane is None else args.plane
        index = args.index if args.mm is None else opened.index_at(plane, args.mm)
        slab = Slab(args.slab, args.how) if args.slab > 1 else None
        if plane in opened.planes and opened.planes[plane].count == 1:
            slab = None
        place = workspace.place(seen.image, plane, index, slab, seen.window)
        if slab is not None:
            opened.at(place)  # which says whether they can be shown as one
        mm = opened.place_mm(place)
        return ToolResult(
            "" if mm is None else f"It lies at {mm:.1f} mm.",
            (workspace.overview(seen.image, place, self.name),),
            {"image": seen.image, "plane": place.plane, "index": place.index},
        )
