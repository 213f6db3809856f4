"""`zoom` and `crop`: boxes map back to the original pixels, and the pixels are the right ones."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym import load
from medgym.errors import ToolError
from medgym.imaging.study import Study
from medgym.tool import Tool
from medgym.workspace import View, Workspace

zoom: Tool = load("tools", "zoom")()
crop: Tool = load("tools", "crop")()

sides = st.integers(1, 300)


def study(width: int, height: int, colour: bool = False) -> Study:
    shape = (height, width, 3) if colour else (height, width)
    return Study(np.random.default_rng(width * height).integers(0, 256, shape).astype(np.uint8))


def look(tool: Tool, workspace: Workspace, view: int, box: Any) -> tuple[View, tuple[float, ...]]:
    """Call a tool as an episode does; the numbered view and the box in original pixels."""
    result = tool(tool.parse({"view": view, "box": list(box)}), workspace)
    (made,) = result.views
    assert made.box_px == tuple(result.data["box_px"])
    return workspace.add(made), made.box_px


@st.composite
def boxes_px(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    """An image's width and height, and a box of whole pixels within it."""
    width, height = draw(sides), draw(sides)
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    return width, height, (x0, y0, x1, y1)


@pytest.mark.parametrize("tool", [zoom, crop], ids=lambda tool: tool.name)
@given(boxes_px(), st.sampled_from(["thousandths", "pixel"]))
def test_a_box_maps_back_to_its_original_pixels(tool: Tool, drawn: Any, coordinates: Any) -> None:
    width, height, box_px = drawn
    workspace = Workspace([study(width, height)], view_size=64, coordinates=coordinates)
    view = workspace.view(0)
    box = view.from_px(box_px, workspace.scale(view))
    top = workspace.scale(view)
    clipped = [min(max(v, 0.0), top[i % 2]) for i, v in enumerate(box)]
    assert look(tool, workspace, 0, clipped)[1] == box_px


@given(boxes_px(), st.tuples(*[st.floats(0, 1000)] * 4))
def test_a_zoom_of_a_zoom_maps_within_rounding(drawn: Any, inner: Any) -> None:
    width, height, box_px = drawn
    x, y = sorted(inner[::2]), sorted(inner[1::2])
    if x[0] == x[1] or y[0] == y[1]:
        return
    workspace = Workspace([study(width, height)], view_size=64)
    box = workspace.view(0).from_px(box_px)
    first, outer_px = look(zoom, workspace, 0, [min(max(v, 0.0), 1000.0) for v in box])
    _, inner_px = look(zoom, workspace, first.number, [x[0], y[0], x[1], y[1]])
    for axis, (low, high) in enumerate((x, y)):
        start, end = outer_px[axis], outer_px[axis + 2]
        exact = [start + edge * (end - start) / 1000 for edge in (low, high)]
        got = inner_px[axis], inner_px[axis + 2]
        assert start <= got[0] < got[1] <= end
        # Half a pixel of rounding; a region under one pixel is widened to one.
        assert all(abs(a - b) <= 0.5 for a, b in zip(exact, got, strict=True)) or (
            got[1] - got[0] == 1 and exact[1] - exact[0] < 1.5 and got[0] - 1 <= exact[0] <= got[1]
        )


def test_a_zoom_of_a_zoom_shows_what_one_zoom_shows() -> None:
    workspace = Workspace([study(512, 512, colour=True)], view_size=64)
    outer, _ = look(zoom, workspace, 0, [0, 0, 500, 500])
    twice, _ = look(zoom, workspace, outer.number, [500, 250, 1000, 750])
    once, _ = look(zoom, workspace, 0, [250, 125, 500, 375])
    assert twice.box_px == once.box_px == (128, 64, 256, 192)
    assert twice.picture.tobytes() == once.picture.tobytes()


def test_zoom_is_exact_on_whole_blocks() -> None:
    original = study(512, 512)
    workspace = Workspace([original], view_size=64)
    view, box_px = look(zoom, workspace, 0, [250, 500, 750, 1000])
    assert box_px == (128, 256, 384, 512)
    blocks = original.pixels[256:512, 128:384].reshape(64, 4, 64, 4).mean((1, 3))
    shown = np.asarray(view.picture)
    # Pillow rounds once along each axis.
    assert np.abs(shown[..., 0] - blocks).max() <= 1.0
    assert (shown[..., 0] == shown[..., 1]).all()
    flat = Study(np.kron(np.arange(64, dtype=np.uint8).reshape(8, 8), np.ones((8, 8), np.uint8)))
    view, _ = look(zoom, Workspace([flat], view_size=8), 0, [0, 0, 1000, 1000])
    assert (np.asarray(view.picture)[..., 0] == np.arange(64).reshape(8, 8)).all()


def test_zoom_fills_the_view_and_keeps_the_aspect() -> None:
    workspace = Workspace([study(400, 200)], view_size=128)
    assert look(zoom, workspace, 0, [0, 0, 100, 100])[0].size == (128, 64)
    assert look(zoom, workspace, 0, [0, 0, 50, 200])[0].size == (64, 128)


@given(boxes_px())
def test_one_pixel_can_be_zoomed(drawn: Any) -> None:
    width, height, (x, y, _, _) = drawn
    original = study(width, height)
    workspace = Workspace([original], view_size=16)
    box = workspace.view(0).from_px((x, y, x + 1, y + 1))
    view, box_px = look(zoom, workspace, 0, [min(max(v, 0.0), 1000.0) for v in box])
    assert box_px == (x, y, x + 1, y + 1)
    assert view.size == (16, 16)
    assert (np.asarray(view.picture) == original.pixels[y, x]).all()


@given(boxes_px(), st.booleans())
def test_crop_shows_the_original_pixels_themselves(drawn: Any, colour: bool) -> None:
    width, height, (x0, y0, x1, y1) = drawn
    original = study(width, height, colour)
    workspace = Workspace([original], view_size=64)
    box = workspace.view(0).from_px((x0, y0, x1, y1))
    view, _ = look(crop, workspace, 0, [min(max(v, 0.0), 1000.0) for v in box])
    wide, high = x1 - x0, y1 - y0
    assert max(view.size) <= 64
    if max(wide, high) <= 64 and max(wide, high) <= 16 * min(wide, high):
        assert view.size == (wide, high)
        cut = original.pixels[y0:y1, x0:x1]
        assert (np.asarray(view.picture) == (cut if colour else cut[..., None])).all()


def test_crop_averages_what_does_not_fit() -> None:
    original = study(256, 256)
    view, _ = look(crop, Workspace([original], view_size=64), 0, [0, 0, 500, 500])
    assert view.size == (64, 64)
    blocks = original.pixels[:128, :128].reshape(64, 2, 64, 2).mean((1, 3))
    assert np.abs(np.asarray(view.picture)[..., 0] - blocks).max() <= 1.0


@pytest.mark.parametrize("tool", [zoom, crop], ids=lambda tool: tool.name)
@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"view": 0}, "box"),
        ({"view": 7, "box": [0, 0, 10, 10]}, "there is no view 7; expected 0 to 0"),
        ({"view": -1, "box": [0, 0, 10, 10]}, "view"),
        ({"view": 0, "box": [0, 0, 1001, 10]}, "0 <= x0 < x1 <= 1000"),
        ({"view": 0, "box": [10, 10, 10, 20]}, "expected [x0, y0, x1, y1]"),
        ({"view": 0, "box": [500, 0, 100, 10]}, "expected [x0, y0, x1, y1]"),
        ({"view": 0, "box": [0, 0, 10]}, "box"),
        ({"view": 0, "box": "0 0 10 10"}, "box"),
        ({"view": 0, "box": [0, 0, 10, float("nan")]}, "box"),
        ({"view": "0", "box": [0, 0, 10, 10]}, "view"),
        ({"view": 0, "box": [0, 0, 10, 10], "scale": 2}, "scale"),
    ],
)
def test_a_wrong_call_is_told_what_was_expected(tool: Tool, call: Any, said: str) -> None:
    workspace = Workspace([study(64, 64)], view_size=32)
    with pytest.raises(ToolError) as error:
        tool(tool.parse(call), workspace)
    assert said in str(error.value)
