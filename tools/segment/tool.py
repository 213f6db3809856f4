"""`segment`: outlines and measures one structure, which a box, points, a scribble or a text names.

The tool reads the call, reports and draws; a back end finds the pixels (`segment?backend=NAME`, see
`backend`). Area, diameter, box, volume and mask are exact for the outline that is shown.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import Field

from medgym.errors import ToolError, UserError
from medgym.gold_tool import Aspect, Gold
from medgym.tool import (
    BoxArgument,
    Fidelity,
    PointArgument,
    PointsArgument,
    Tool,
    ToolArgs,
    ToolResult,
    ViewNumber,
)
from medgym.workspace import View, Workspace

from .backend import (
    Point,
    Segmentation,
    SegmentationThrough,
    Segmenter,
    SegmentPrompt,
    SegmentRequest,
    make_backend,
)
from .report import NAME, report
from .volume import report_through

NO_GOLD = Gold()

OF_FIDELITY: dict[Fidelity, str] = {
    "vision": "classical",
    "predicted": "noised",
    "oracle": "oracle",
}
"""The back end of each fidelity, where none is named."""

NOTHING = "Nothing stands out there."

UNTOLD = "Its outline is not told here."
"""For gold, and a question that asks for a place, a size, or whether there is anything."""

OUTLINED: tuple[Aspect, ...] = ("place", "size", "count")
"""What follows from an outline."""


class Segment(Tool):
    """Outline and measure one structure: give a box around it, or a point, points or a scribble
    in it; through=true follows it through the volume.

    Args:
        backend: the name of a back end, see `medgym.tools.segment.backend`; by default that of the
            fidelity.
        fidelity: `vision`, `predicted` or `oracle`; by default that of the back end.
        options: those of the back end.
    """

    name = NAME
    version = "2"
    deadline_s = 600.0  # it computes, and many calls may share few cores
    caches = True

    class Args(ToolArgs):
        """Where the structure is: a box with a margin around it, or what lies within it."""

        view: ViewNumber
        box: BoxArgument | None = None
        point: PointArgument | None = None
        points: PointsArgument | None = None
        labels: Annotated[
            list[Literal[1, 0]] | None,
            Field(description="of each of points: 1 in the structure (default), 0 beside it"),
        ] = None
        scribble: Annotated[
            PointsArgument | None, Field(description="a line in the structure, from point to point")
        ] = None
        text: Annotated[str | None, Len(0, 200), Field(description="what it is called")] = None
        through: Annotated[bool, Field(description="through all slices of the plane")] = False

    def __init__(
        self, backend: str | None = None, fidelity: Fidelity | None = None, **options: Any
    ) -> None:
        self._backend: Segmenter = make_backend(
            backend or OF_FIDELITY[fidelity or "vision"], options
        )
        if fidelity not in (None, self._backend.fidelity):
            raise UserError(
                f"segment?backend={backend} is of the fidelity {self._backend.fidelity}, not "
                f"{fidelity}; fix: leave one of both out"
            )
        self.fidelity = self._backend.fidelity
        self.resources = self._backend.resources
        self.batch_size = self._backend.batch_size
        self.needs_gold = self._backend.needs_gold

    def schema(self) -> dict[str, Any]:
        """See `Tool.schema`; without what the back end cannot use."""
        schema = super().schema()
        kept = schema["parameters"]["properties"]
        unused = {
            "box": ("box",),
            "points": ("point", "points", "labels"),
            "scribble": ("scribble",),
            "text": ("text",),
        }
        for kind, arguments in unused.items():
            if kind not in self._backend.takes:
                for argument in arguments:
                    del kept[argument]
        return schema

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A view of the region with the outline drawn on, and the measures as text.

        `data` holds `image`, `box_px` (of the structure, original pixels), `mask` (run lengths over
        the whole image, as `Mask` reads them), `area_px`, where the spacing is known `area_mm2`
        and `length_mm`, else `length_px`, the mean values `mean_inside` and `mean_around` with
        their `unit`, and `score`. Through a volume: see `report_through`.
        """
        return self._only([(args, workspace)])

    def with_gold(self, args: Args, workspace: Workspace, gold: Gold) -> ToolResult:
        """The same, for a back end that needs gold."""
        return self._only([(args, workspace)], gold)

    def run_many(self, calls: Sequence[tuple[Any, Workspace]]) -> Sequence[ToolResult | ToolError]:
        """See `Tool.run_many`: the back end gets the requests of all calls at once."""
        return self._run(calls, NO_GOLD)

    def _only(self, calls: Sequence[tuple[Any, Workspace]], gold: Gold = NO_GOLD) -> ToolResult:
        (result,) = self._run(calls, gold)
        if isinstance(result, ToolError):
            raise result
        return result

    def _run(
        self, calls: Sequence[tuple[Any, Workspace]], gold: Gold
    ) -> list[ToolResult | ToolError]:
        results: dict[int, ToolResult | ToolError] = {}
        requests: dict[int, SegmentRequest] = {}
        for number, (args, workspace) in enumerate(calls):
            try:
                request = self._request(args, workspace, gold)
                if _is_told(request):
                    requests[number] = request
                else:
                    results[number] = ToolResult(UNTOLD, data={"image": request.number})
            except ToolError as error:
                results[number] = error
        for through, find in ((False, self._backend.segment), (True, self._backend.through)):
            wanted = [number for number in requests if calls[number][0].through == through]
            found: Sequence[Segmentation | SegmentationThrough | ToolError | None] = ()
            if wanted:
                found = find([requests[number] for number in wanted])
            for number, each in zip(wanted, found, strict=True):
                try:
                    results[number] = self._reported(each, requests[number], *calls[number])
                except ToolError as error:
                    results[number] = error
        return [results[number] for number in range(len(calls))]

    def _reported(
        self,
        found: Segmentation | SegmentationThrough | ToolError | None,
        request: SegmentRequest,
        args: Args,
        workspace: Workspace,
    ) -> ToolResult | ToolError:
        view = workspace.view(args.view)
        if found is None:
            return ToolResult(NOTHING, data={"image": view.image})
        if isinstance(found, ToolError):
            return found
        if isinstance(found, SegmentationThrough):
            return report_through(found, request, workspace, view)
        return report(found, request, workspace, view)

    def _request(self, args: Args, workspace: Workspace, gold: Gold) -> SegmentRequest:
        view = workspace.view(args.view)
        image = workspace.images[view.image]
        if args.through and image.planes[view.plane].count < 2:
            raise ToolError("segment: through needs a volume or a clip; expected it left out")
        prompt = _prompt(args, workspace, view)
        for kind in prompt.kinds:
            if kind not in self._backend.takes:
                raise ToolError(
                    f"segment: {kind} is not understood here; expected "
                    f"{' or '.join(self._backend.takes)}",
                    "name",
                )
        return SegmentRequest(image, view.place, view.box_px, prompt, view.image, gold)


def _is_told(request: SegmentRequest) -> bool:
    """Whether gold may answer a request."""
    gold, text = request.gold, request.prompt.text
    return all(map(gold.tells, OUTLINED)) and (text is None or gold.tells("label"))


def _prompt(args: Segment.Args, workspace: Workspace, view: View) -> SegmentPrompt:
    if args.labels is not None and len(args.labels) != len(args.points or ()):
        raise ToolError("segment: expected as many labels as points", "value")
    text = None if args.text is None else args.text.strip()
    if text == "":
        raise ToolError("segment: the text is empty; expected what the structure is called")
    if args.scribble is not None and len(args.scribble) < 2:
        raise ToolError("segment: expected two points or more of a scribble; use point for one")
    points = ([args.point] if args.point else []) + (args.points or [])
    labels = [1] * (len(points) - len(args.labels or ())) + list(args.labels or ())
    prompt = SegmentPrompt(
        None if args.box is None else workspace.box_px(args.view, args.box),
        tuple(_pixel(workspace, view, point) for point in points),
        tuple(label == 1 for label in labels),
        tuple(_pixel(workspace, view, point) for point in args.scribble or ()),
        text,
    )
    if not prompt.kinds:
        raise ToolError("segment: expected box, point, points or scribble", "name")
    if prompt.kinds == ("points",) and not any(prompt.labels):
        raise ToolError("segment: all points lie beside the structure; expected one in it")
    if prompt.box_px is not None:
        x0, y0, x1, y1 = prompt.box_px
        inside = [p for p, label in zip(prompt.points_px, prompt.labels, strict=True) if label]
        for x, y in (*inside, *prompt.scribble_px):
            if not (x0 <= x <= x1 and y0 <= y <= y1):
                raise ToolError(
                    "segment: a point of the structure lies outside the box; expected it within"
                )
    return prompt


def _pixel(workspace: Workspace, view: View, point: Sequence[float]) -> Point:
    """A point of a call within the last pixel of the view."""
    x, y = workspace.point_px(view.number, point)
    return min(x, view.box_px[2] - 1), min(y, view.box_px[3] - 1)
