"""`annotate`: a numbered mark on a view, as a new view; so ViTAR's policy marks where it looks."""

from typing import Annotated

from PIL import Image, ImageDraw, ImageFont
from pydantic import Field

from medgym.errors import ToolError
from medgym.tool import BoxArgument, PointArgument, Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import View, Workspace

COLOUR, BEHIND = (0, 255, 255), (0, 0, 0)
"""Cyan: no tissue and no stain has it."""

LINE = 1 / 150
"""The width of a line, as a share of the view's longer side; at least a pixel."""

LETTER = 1 / 16
"""The height of the number, as a share of the view's longer side; at least 8 pixels."""


class Annotate(Tool):
    """Mark a box or a point on a view with a number. A marked view can be marked again."""

    name = "annotate"
    deadline_s = None  # it only draws

    class Args(ToolArgs):
        """What to mark on which view."""

        view: ViewNumber
        box: BoxArgument | None = None
        point: PointArgument | None = None
        number: Annotated[int, Field(ge=1, le=99, description="drawn beside the mark")] = 1

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        """A view of the same region with the mark; zooming into it shows the original pixels.

        `data` holds `image`, `number`, and `box_px` or `point_px`.
        """
        if (args.box is None) == (args.point is None):
            raise ToolError("annotate: expected either box or point, and not both", "name")
        view = workspace.view(args.view)
        data: dict[str, object] = {"image": view.image, "number": args.number}
        if args.box is not None:
            box_px = workspace.box_px(args.view, args.box)
            data["box_px"] = list(box_px)
            picture = _boxed(view, box_px, args.number)
        else:
            assert args.point is not None
            point_px = workspace.point_px(args.view, args.point)
            data["point_px"] = list(point_px)
            picture = _pointed(view, point_px, args.number)
        shown = workspace.overlay(view, picture, self.name)
        return ToolResult(f"Marked with {args.number}.", (shown,), data)


def _boxed(view: View, box_px: tuple[float, float, float, float], number: int) -> Image.Image:
    picture = view.picture
    x0, y0, x1, y1 = view.from_px(box_px, (float(picture.width), float(picture.height)))
    left, top = max(0, round(x0)), max(0, round(y0))
    right, bottom = min(picture.width, round(x1)) - 1, min(picture.height, round(y1)) - 1
    left, top = min(left, picture.width - 1), min(top, picture.height - 1)
    right, bottom = max(left, right), max(top, bottom)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((left, top, right, bottom), outline=COLOUR, width=_line(picture))
    _numbered(pen, picture, (left, top, right, bottom), number)
    return picture


def _pointed(view: View, point_px: tuple[float, float], number: int) -> Image.Image:
    picture = view.picture
    side = float(picture.width), float(picture.height)
    x, y, _, _ = view.from_px((*point_px, *point_px), side)
    column, row = min(int(x), picture.width - 1), min(int(y), picture.height - 1)
    pen, arm, width = ImageDraw.Draw(picture), 6 * _line(picture), _line(picture)
    # A cross that leaves the pixel itself as it is.
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        start = column + dx * (width + 1), row + dy * (width + 1)
        pen.line((*start, column + dx * (width + arm), row + dy * (width + arm)), COLOUR, width)
    around = column - width - arm, row - width - arm, column + width + arm, row + width + arm
    _numbered(pen, picture, around, number)
    return picture


def _line(picture: Image.Image) -> int:
    return max(1, round(max(picture.size) * LINE))


def _numbered(
    pen: ImageDraw.ImageDraw, picture: Image.Image, mark: tuple[int, int, int, int], number: int
) -> None:
    """The number above the mark, else below it, else inside it."""
    font = ImageFont.load_default(max(8, round(max(picture.size) * LETTER)))
    x0, y0, x1, y1 = pen.textbbox((0, 0), str(number), font=font)
    wide, high = int(x1 - x0) + 4, int(y1 - y0) + 4
    left = max(0, min(mark[0], picture.width - wide))
    if mark[1] - high >= 0:
        top = mark[1] - high
    elif mark[3] + 1 + high <= picture.height:
        top = mark[3] + 1
    else:
        top = max(0, mark[1])
    pen.rectangle((left, top, left + wide - 1, top + high - 1), fill=BEHIND)
    pen.text((left + 2 - x0, top + 2 - y0), str(number), COLOUR, font=font)
