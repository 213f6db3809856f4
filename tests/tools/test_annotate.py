"""A mark stands where it says, and only there."""

from typing import Any

import numpy as np
import pytest

from medgym.errors import ToolError
from medgym.imaging.study import Study
from medgym.tool import ToolResult
from medgym.tools.annotate import BEHIND, COLOUR, Annotate
from medgym.workspace import Workspace

GREY = np.full((100, 200), 120, np.uint8)


def called(workspace: Workspace, view: int = 0, **arguments: Any) -> ToolResult:
    tool = Annotate()
    result = tool(tool.parse({"view": view, **arguments}), workspace)
    for shown in result.views:
        workspace.add(shown)
    return result


def marked(result: ToolResult) -> Any:
    """Which pixels the mark and its number have changed."""
    return (np.asarray(result.views[0].picture) != 120).any(axis=2)


def test_a_box_is_drawn_around_its_pixels() -> None:
    workspace = Workspace([Study(GREY)], view_size=200)
    result = called(workspace, box=[250, 400, 500, 800], number=3)
    assert result.data == {"image": 0, "number": 3, "box_px": [50.0, 40.0, 100.0, 80.0]}
    pixels = np.asarray(result.views[0].picture)
    rows, columns = np.nonzero((pixels[39:81] == COLOUR).all(axis=2))
    assert (columns.min(), columns.max()) == (50, 99)
    assert (rows.min() + 39, rows.max() + 39) == (40, 79)
    assert (pixels[45:75, 55:95] == 120).all()
    number = marked(result)[:40]
    assert number.any()
    assert (pixels[:40][number] == BEHIND).all(axis=1).any()


def test_a_point_keeps_its_own_pixel() -> None:
    workspace = Workspace([Study(GREY)], view_size=200)
    result = called(workspace, point=[500, 500], number=12)
    assert result.data["point_px"] == [100.0, 50.0]
    pixels = np.asarray(result.views[0].picture)
    assert tuple(pixels[50, 100]) == (120,) * 3
    around = (pixels == COLOUR).all(axis=2)
    assert around[50, 102:106].all()
    assert around[50, 95:99].all()


def test_marks_add_up_and_a_zoom_shows_the_original_pixels() -> None:
    workspace = Workspace([Study(GREY)], view_size=200)
    one = marked(called(workspace, box=[100, 400, 300, 900]))
    both = marked(called(workspace, view=1, box=[600, 400, 900, 900], number=2))
    assert (one & both).sum() == one.sum() < both.sum()
    assert not marked(called(workspace, view=0, point=[900, 100]))[:, :100].any()
    closer = workspace.look(0, workspace.box_px(2, [0, 0, 500, 1000]), enlarge=True, made_by="zoom")
    assert (np.asarray(closer.picture) == 120).all()


@pytest.mark.parametrize("where", [{"box": [0, 0, 1000, 1000]}, {"point": [1000, 1000]}])
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (300, 2)])
def test_the_smallest_images_can_be_marked(where: Any, size: tuple[int, int]) -> None:
    pixels = np.full(size, 120, np.uint8)
    result = called(Workspace([Study(pixels)], view_size=40), **where)
    assert marked(result).any()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({}, "expected either box or point"),
        ({"box": [1, 1, 9, 9], "point": [5, 5]}, "expected either box or point"),
        ({"box": [9, 9, 1, 1]}, "0 <= x0 < x1 <= 1000"),
        ({"point": [5, -1]}, "0 <= x <= 1000"),
        ({"point": [5, float("inf")]}, "finite number"),
        ({"point": [5, 5], "number": 0}, "greater than or equal to 1"),
        ({"point": [5, 5], "number": 100}, "less than or equal to 99"),
        ({"point": [5, 5], "view": 2}, "expected 0 to 0"),
    ],
)
def test_what_cannot_be_marked_says_what_was_expected(call: Any, expected: str) -> None:
    with pytest.raises(ToolError) as error:
        called(Workspace([Study(GREY)], view_size=40), **call)
    assert expected in str(error.value)
