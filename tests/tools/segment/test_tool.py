"""`segment`: measures are right for shapes that are known, and exact for the outline it shows."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medgym import load
from medgym.cases import Mask
from medgym.errors import ToolError
from medgym.imaging.study import Study, Window
from medgym.tool import Tool, ToolResult
from medgym.tools.segment.measure import Runs
from medgym.workspace import Workspace

segment: Tool = load("tools", "segment")()


def disc(side: int, x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:side, :side]
    inside: NDArray[np.bool_] = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2
    return inside


def call(workspace: Workspace, **where: Any) -> ToolResult:
    return segment(segment.parse({"view": 0, **where}), workspace)


def mask_of(result: ToolResult) -> NDArray[np.bool_]:
    return Mask.model_validate(dict(result.data["mask"])).array()


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def picture(shape: NDArray[np.bool_], kind: str) -> NDArray[np.uint8]:
    rows, columns = np.indices(shape.shape)
    noise = np.random.default_rng(0).normal(0, 1, shape.shape)
    checker = ((rows // 8 + columns // 8) % 2) * 2 - 1
    levels = {
        "bright": np.where(shape, 140, 100),
        "dark": np.where(shape, 60, 100) + 8 * noise,
        "noisy": np.where(shape, 140, 100) + 20 * noise,
        "textured": np.where(shape, 140 + 40 * checker, 100) + 4 * noise,
    }[kind]
    return np.clip(levels, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["bright", "dark", "noisy", "textured"])
@pytest.mark.parametrize(
    "where", [{"box": [220, 400, 560, 780]}, {"point": [391, 586]}], ids=["box", "point"]
)
def test_a_disc_is_found_and_measured(kind: str, where: Any) -> None:
    shape = disc(512, 200, 300, 60)
    workspace = Workspace([Study(picture(shape, kind), (0.5, 0.5))], view_size=256)
    result = call(workspace, **where)
    assert overlap(mask_of(result), shape) > 0.95
    assert result.data["area_mm2"] == pytest.approx(shape.sum() * 0.25, rel=0.04)
    assert result.data["length_mm"] == pytest.approx(60, abs=2.5)
    assert f"Area {result.data['area_mm2']:.1f} mm2" in result.text
    assert " of view 0, mean grey " in result.text


def test_measures_are_exact_for_the_mask() -> None:
    pixels = np.full((80, 100), 50, np.uint8)
    pixels[20:50, 30:70] = 200
    workspace = Workspace([Study(pixels, (0.5, 0.25))], view_size=64)
    result = call(workspace, box=[100, 50, 900, 850])
    assert result.data["area_px"] == mask_of(result).sum() == 30 * 40
    assert result.data["box_px"] == [30, 20, 70, 50]
    assert result.data["area_mm2"] == 30 * 40 * 0.125
    assert result.data["length_mm"] == pytest.approx(float(np.hypot(30 * 0.5, 40 * 0.25)))
    assert "box [300, 250, 700, 625] of view 0" in result.text
    assert "mean grey 200 inside and 50 around" in result.text


def test_colours_of_sixteen_bits_are_told_in_grey_as_they_are_shown() -> None:
    pixels = np.full((80, 100, 3), 50 * 257, np.uint16)
    pixels[20:50, 30:70] = [100 * 257, 200 * 257, 240 * 257]
    workspace = Workspace([Study(pixels, window=Window(2.0**15, 2.0**16))], view_size=64)
    result = call(workspace, box=[100, 50, 900, 850])
    assert result.data["area_px"] == 30 * 40
    assert "mean grey 180 inside and 50 around" in result.text


def test_without_spacing_it_measures_in_pixels() -> None:
    shape = disc(128, 60, 60, 20)
    workspace = Workspace([Study(picture(shape, "bright"))], view_size=64)
    result = call(workspace, box=[200, 200, 800, 800])
    assert f"Area {result.data['area_px']} px, longest diameter" in result.text
    assert not result.data.keys() & {"area_mm2", "length_mm"}


def test_the_box_it_tells_is_in_the_addressed_view() -> None:
    shape = disc(400, 300, 300, 20)
    workspace = Workspace([Study(picture(shape, "bright"))], view_size=100, coordinates="pixel")
    workspace.add(workspace.look(0, (200.0, 200.0, 400.0, 400.0), enlarge=True, made_by="zoom"))
    result = call(workspace, view=1, box=[20, 20, 80, 80])
    assert "box [40, 40, 60, 60] of view 1" in result.text
    assert result.data["box_px"] == pytest.approx([280, 280, 320, 320], abs=2)


def test_the_outline_is_drawn_around_the_mask_alone() -> None:
    pixels = np.full((64, 64), 50, np.uint8)
    pixels[16:48, 16:48] = 200
    workspace = Workspace([Study(pixels)], view_size=64)
    result = call(workspace, box=[0, 0, 1000, 1000])
    (view,) = result.views
    drawn = (np.asarray(view.picture) == (0, 255, 0)).all(-1)
    mask = mask_of(result)
    assert overlap(mask, pixels == 200) > 0.98
    inner = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    assert (drawn == (mask & ~np.pad(inner, 1))).all()
    assert (np.asarray(view.picture)[~drawn] == pixels[~drawn][:, None]).all()


def test_a_large_region_keeps_its_place_and_its_mask_is_small() -> None:
    shape = np.kron(disc(100, 50, 40, 20), np.ones((15, 15), bool))
    workspace = Workspace([Study(picture(shape, "bright"))], view_size=64)
    result = call(workspace, box=[100, 100, 900, 900])
    assert overlap(mask_of(result), shape) > 0.95
    assert len(result.data["mask"]["counts"]) <= 2 * 1500


@given(
    x=st.integers(0, 40), y=st.integers(0, 30), wide=st.integers(1, 60), high=st.integers(1, 50),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=12)
def test_any_box_of_any_picture_is_answered_and_consistent(
    x: int, y: int, wide: int, high: int, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    pixels = (chance.integers(0, 4, (50, 60)) * 80).astype(np.uint8)
    workspace = Workspace([Study(pixels, (0.3, 0.7))], view_size=32)
    view = workspace.view(0)
    box = view.from_px((x, y, min(x + wide, 60), min(y + high, 50)))
    result = call(workspace, box=[min(v, 1000.0) for v in box])
    if result.views:
        mask = mask_of(result)
        rows, columns = np.nonzero(mask)
        assert result.data["area_px"] == mask.sum()
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert result.data["box_px"] == edges
        # Brute force over the corners of all pixels.
        corners = np.array([(r + i, c + j) for r, c in zip(rows, columns, strict=True)
                            for i in (0, 1) for j in (0, 1)]) * (0.3, 0.7)  # fmt: skip
        apart = np.hypot(*(corners[:, None] - corners[None]).transpose(2, 0, 1)).max()
        assert result.data["length_mm"] == pytest.approx(float(apart))


@pytest.mark.parametrize("level", [0, 100, 255])
def test_nothing_stands_out_of_a_flat_picture(level: int) -> None:
    workspace = Workspace([Study(np.full((64, 64), level, np.uint8))], view_size=32)
    for where in ({"box": [100, 100, 900, 900]}, {"point": [500, 500]}):
        result = call(workspace, **where)
        assert result.text == "Nothing stands out there."
        assert result.views == ()


def test_nothing_stands_out_of_noise() -> None:
    noise = 100 + 10 * np.random.default_rng(0).normal(size=(256, 256))
    workspace = Workspace([Study(noise.astype(np.uint8))], view_size=64)
    assert call(workspace, box=[100, 100, 900, 900]).views == ()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({}, "expected box, point, points or scribble"),
        ({"box": [0, 0, 10, 10], "point": [50, 5]}, "lies outside the box"),
        ({"point": [1001, 5]}, "0 <= x <= 1000"),
        ({"point": [5]}, "point"),
        ({"box": [5, 5, 5, 5]}, "expected [x0, y0, x1, y1]"),
        ({"box": [float("nan"), 0, 5, 5]}, "finite"),
        ({"points": []}, "points"),
        ({"points": [[5, 5], [7]]}, "points"),
        ({"points": [[5, 5], [7, -1]]}, "0 <= y <= 1000"),
        ({"points": [[5, 5]], "labels": [1, 0]}, "as many labels as points"),
        ({"points": [[5, 5]], "labels": [2]}, "labels"),
        ({"points": [[5, 5]], "labels": [0]}, "expected one in it"),
        ({"labels": [1]}, "as many labels as points"),
        ({"scribble": [[5, 5]]}, "two points or more"),
        ({"scribble": [[5, 5], [9, 1e300]]}, "0 <= y <= 1000"),
        ({"text": "liver"}, "text is not understood here; expected box or points or scribble"),
        ({"text": "  "}, "the text is empty"),
        ({"text": 3}, "text"),
        ({"point": [5, 5], "through": True}, "through needs a volume"),
        ({"point": [5, 5], "through": "yes"}, "through"),
    ],
)
def test_a_wrong_call_is_told_what_was_expected(where: Any, said: str) -> None:
    workspace = Workspace([Study(np.zeros((64, 64), np.uint8))], view_size=32)
    with pytest.raises(ToolError) as error:
        call(workspace, **where)
    assert said in str(error.value)


@settings(max_examples=8)
@given(
    st.tuples(st.floats(), st.floats()) | st.tuples(*[st.floats(1e-4, 100.0)] * 2),
    st.lists(st.floats(0, 1000), min_size=2, max_size=2),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_no_spacing_and_no_point_raises(
    spacing: tuple[float, float], point: list[float], width: int, height: int
) -> None:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width)).astype(np.uint8)
    study = Study(np.where(pixels > 128, 220, 20).astype(np.uint8), spacing)
    result = call(Workspace([study], view_size=64), point=point)
    length = result.data.get("length_mm")
    assert length is None or 0 < length < 100 * 60


def test_every_so_many_pixels_of_a_mask_are_those_of_the_whole() -> None:
    chance = np.random.default_rng(0)
    for _ in range(60):
        height, width, step = chance.integers(1, 30, 3).tolist()
        mask = chance.random((height, width)) < chance.random()
        runs = Runs.of_mask(Mask.of(mask))
        if runs is not None:
            x0, y0 = chance.integers(0, [width, height]).tolist()
            part = mask[y0:height:step, x0:width:step]
            assert (runs.within((x0, y0, width, height), step) == part).all()


def test_many_runs_left_of_a_box_do_not_run_over() -> None:
    mask = np.zeros((2, 3000), bool)
    mask[0, ::2] = True
    runs = Runs.of_mask(Mask.of(mask))
    assert runs is not None
    assert (runs.within((2500, 0, 3000, 2)) == mask[:, 2500:]).all()


def test_a_large_structure_is_measured_without_laying_it_out() -> None:
    side = 2**14
    rows = np.arange(side)
    runs = Runs(rows, np.zeros(side, np.int64), np.full(side, side))
    tracemalloc.start()
    inside = runs.within((0, 0, side, side), side // 64)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert inside.shape == (64, 64)
    assert inside.all()
    assert most < 2**22
