"""Views map to original pixels and back, never show too much, and can reach every pixel."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from medgym.errors import ToolError, UserError
from medgym.failures import ContractError
from medgym.imaging.study import Study
from medgym.workspace import MAX_ASPECT, View, Workspace

sides = st.integers(1, 200)
view_sizes = st.integers(1, 80)


def study(width: int, height: int, **options: Any) -> Study:
    pixels = np.random.default_rng(width * 7919 + height).integers(0, 256, (height, width))
    return Study(pixels.astype(np.uint8), **options)


def workspace(width: int, height: int, view_size: int = 64, **options: Any) -> Workspace:
    return Workspace([study(width, height)], view_size=view_size, **options)


@st.composite
def fractions(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """A box of positive area within the unit square."""
    x = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda p: p[0] != p[1])))
    y = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda p: p[0] != p[1])))
    return x[0], y[0], x[1], y[1]


@given(sides, sides, view_sizes, st.sampled_from(["thousandths", "pixel"]), st.data())
def test_a_view_of_a_view_of_a_view_maps_to_original_pixels(
    width: int, height: int, view_size: int, coordinates: Any, data: st.DataObject
) -> None:
    space = workspace(width, height, view_size, coordinates=coordinates)
    view = space.view(0)
    for _ in range(3):
        across, down = space.scale(view)
        x0, y0, x1, y1 = data.draw(fractions())
        box = (x0 * across, y0 * down, x1 * across, y1 * down)
        exact = view.to_px(box, (across, down))
        got = space.box_px(view.number, box)
        for axis in (0, 1):
            low, high = got[axis], got[axis + 2]
            assert low == int(low)
            assert high == int(high)
            assert view.box_px[axis] <= low < high <= view.box_px[axis + 2]
            whole = high - low > 1 or round(exact[axis]) < round(exact[axis + 2])
            if whole:  # the nearest whole pixels
                assert abs(low - exact[axis]) <= 0.5 + 1e-6
                assert abs(high - exact[axis + 2]) <= 0.5 + 1e-6
            else:  # less than a pixel: the one that holds its centre
                centre = (exact[axis] + exact[axis + 2]) / 2
                assert low - 1e-6 <= centre <= high + 1e-6
        view = space.add(space.look(0, got, enlarge=data.draw(st.booleans()), made_by="look"))
        assert view.box_px == got


@given(sides, sides, fractions(), st.tuples(*[st.floats(0, 1000)] * 4))
def test_to_px_and_from_px_undo_each_other(
    width: int, height: int, shown: Any, box: tuple[float, ...]
) -> None:
    x0, y0, x1, y1 = shown
    if min(x1 - x0, y1 - y0) < 1e-3:
        return
    box_px = (x0 * width, y0 * height, x1 * width, y1 * height)
    view = View(0, 0, box_px, Image.new("RGB", (8, 8)))
    for scale in ((1000.0, 1000.0), (8.0, 8.0)):
        there = view.to_px(box, scale)
        assert view.from_px(there, scale) == pytest.approx(box, abs=1e-6, rel=1e-9)
    assert view.to_px((0, 0, 1000, 1000)) == pytest.approx(box_px)


@given(sides, sides, view_sizes, st.data())
def test_every_pixel_can_be_looked_at(
    width: int, height: int, view_size: int, data: st.DataObject
) -> None:
    """Any region of a pixel or more, named exactly, is what is shown."""
    space = workspace(width, height, view_size)
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    for region in ((x0, y0, x0 + 1, y0 + 1), (x0, y0, x1, y1)):
        box = [min(max(v, 0.0), 1000.0) for v in space.view(0).from_px(region)]
        assert space.box_px(0, box) == region
        for enlarge in (True, False):
            view = space.look(0, region, enlarge=enlarge, made_by="look")
            assert max(view.size) <= view_size
            assert view.picture.mode == "RGB"
            if enlarge:
                assert max(view.size) == view_size
        assert space.look(0, region, enlarge=True, made_by="look").size


@given(st.integers(1, 3000), st.integers(1, 3000), view_sizes)
def test_a_view_holds_no_more_than_view_size_and_is_no_sliver(
    width: int, height: int, view_size: int
) -> None:
    space = Workspace([Study(np.zeros((height, width), np.uint8))], view_size=view_size)
    across, down = space.view(0).size
    assert max(across, down) <= view_size
    assert max(across, down) <= MAX_ASPECT * min(across, down)
    if max(width, height) <= MAX_ASPECT * min(width, height):
        assert max(across, down) == min(view_size, max(width, height))
        assert abs(across * height - down * width) <= max(width, height)  # the aspect, rounded


def test_a_pixel_fills_the_view_with_its_colour() -> None:
    space = workspace(50, 40, 32)
    view = space.look(0, (7, 9, 8, 10), enlarge=True, made_by="look")
    assert view.size == (32, 32)
    assert set(np.unique(view.picture)) == {int(space.studies[0].pixels[9, 7])}


def test_looks_resample_the_original_and_never_a_view() -> None:
    space = workspace(512, 512)
    first = space.add(space.look(0, (100, 100, 164, 164), enlarge=True, made_by="look"))
    assert np.array_equal(
        np.asarray(first.picture)[..., 0], space.studies[0].pixels[100:164, 100:164]
    )


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 0, 10], [0, 0, 10, 0], [10, 0, 5, 10], [0, 10, 10, 5], [-1, 0, 10, 10],
        [0, 0, 1000.1, 10], [0, 0, 10, 1e308], [float("nan"), 0, 10, 10], [0, 0, float("inf"), 10],
        [0, 0, 10], [], [0, 0, 10, 10, 10], [float("-inf")] * 4, [0, 0, 10**300, 10],
    ],
)  # fmt: skip
def test_a_box_outside_its_view_says_what_was_expected(box: list[float]) -> None:
    with pytest.raises(ToolError, match=r"expected.*0 <= x0 < x1 <= 1000") as error:
        workspace(100, 50).box_px(0, box)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("point", [[-0.1, 5], [5, 1000.1], [float("nan"), 5], [5, 1e308], [5]])
def test_a_point_outside_its_view_says_what_was_expected(point: list[float]) -> None:
    with pytest.raises(ToolError, match=r"expected \[x, y\] with 0 <= x <= 1000") as error:
        workspace(100, 50).point_px(0, point)
    assert len(str(error.value)) < 300


def test_a_point_is_exact_in_original_pixels_up_to_the_edge() -> None:
    space = workspace(2007, 300, coordinates="pixel")
    view = space.add(space.look(0, (7, 100, 2007, 200), enlarge=True, made_by="turn"))
    wide, high = view.size
    assert space.point_px(1, [0, 0]) == (7, 100)
    assert space.point_px(1, [wide / 4, high / 2]) == (507, 150)
    assert space.point_px(1, [wide, high]) == (2007, 200)


@pytest.mark.parametrize("number", [-1, 1, 10**400])
def test_a_view_that_is_not_there_says_which_are(number: int) -> None:
    space = workspace(100, 50)
    with pytest.raises(ToolError, match="expected 0 to 0") as error:
        space.view(number)
    assert len(str(error.value)) < 100


def test_pixel_coordinates_are_those_of_the_addressed_view() -> None:
    space = workspace(512, 256, 64, coordinates="pixel")
    assert space.box_px(0, [0, 0, 64, 32]) == (0, 0, 512, 256)
    assert space.box_px(0, [8, 8, 16, 16]) == (64, 64, 128, 128)
    with pytest.raises(ToolError, match="x1 <= 64 and 0 <= y0 < y1 <= 32"):
        space.box_px(0, [0, 0, 64, 33])


def test_views_are_numbered_and_stay_addressable() -> None:
    space = Workspace([study(30, 20), study(40, 40)], view_size=16)
    assert [(view.number, view.image) for view in space.views] == [(0, 0), (1, 1)]
    made = space.look(1, (0, 0, 8, 8), enlarge=True, made_by="look")
    assert made.number == -1
    assert space.add(made).number == 2
    assert space.view(2).picture.tobytes() == made.picture.tobytes()
    assert space.view(0).made_by is None
    over = space.overlay(space.view(2), Image.new("L", (16, 16)), made_by="draw")
    assert (over.box_px, over.image, over.made_by) == ((0, 0, 8, 8), 1, "draw")
    assert space.add(over).picture.mode == "RGB"


@pytest.mark.parametrize("picture", [Image.new("RGB", (17, 4)), Image.new("L", (4, 4))])
def test_a_view_that_shows_too_much_is_refused(picture: Image.Image) -> None:
    space = workspace(30, 20, 16)
    with pytest.raises(ValueError, match="1 to 16 pixels"):
        space.add(View(-1, 0, (0, 0, 4, 4), picture, "plug-in"))


def test_a_source_may_forbid_view_sizes() -> None:
    kept = study(512, 512, view_sizes=(32, 64))
    assert Workspace([kept], view_size=64).view(0).size == (64, 64)
    with pytest.raises(UserError, match="view_size of 32, 64, not 128"):
        Workspace([kept], view_size=128)


def test_a_case_is_known_by_its_names_and_tells_none() -> None:
    names = ("ward/train/pneumonia_12", "patient 3", "file:/data/pneumonia_12.png", "")
    space = Workspace([study(8, 8)], view_size=16, names=names)
    assert all(space.is_named(name) for name in names[:3])
    assert not any(space.is_named(name) for name in ("pneumonia_12", "", None))
    assert "pneumonia" not in repr(vars(space))
    assert not Workspace([study(8, 8)], view_size=16).is_named("")


def test_a_region_is_shown_up_to_the_edges_of_its_image() -> None:
    space = Workspace([study(30, 20), study(40, 10)], view_size=16)
    for image, box in ((0, (0, 0, 30, 20)), (1, (0, 0, 40, 10)), (1, (39, 9, 40, 10))):
        view = space.show(image, box)
        assert (view.number, view.image, view.box_px) == (len(space.views) - 1, image, box)
        assert (max(view.size), view.made_by) == (16, None)


@pytest.mark.parametrize("image", [-1, 2])
def test_a_region_of_no_image_is_refused(image: int) -> None:
    space = Workspace([study(30, 20), study(40, 10)], view_size=16)
    with pytest.raises(ValueError, match=f"^there is no image {image}$"):
        space.show(image, (0, 0, 4, 4))


@pytest.mark.parametrize(
    "box", [(-1, 0, 4, 4), (0, -1, 4, 4), (4, 0, 4, 4), (0, 4, 4, 4), (0, 0, 31, 4), (0, 0, 4, 21)]
)
def test_a_region_outside_its_image_is_refused(box: Any) -> None:
    says = re.escape(f"the box {box} does not lie in image 0, 30 x 20")
    with pytest.raises(ValueError, match=f"^{says}$"):
        workspace(30, 20, 16).show(0, box)


def test_a_policy_reads_exactly_which_views_and_boxes_there_are() -> None:
    space = workspace(100, 50, coordinates="pixel")
    with pytest.raises(ToolError) as error:
        space.view(7)
    assert str(error.value) == "there is no view 7; expected 0 to 0"
    with pytest.raises(ToolError) as error:
        space.view(10**20)
    assert str(error.value) == "there is no view 100000000000; expected 0 to 0"
    with pytest.raises(ToolError) as error:
        space.box_px(0, [1.5, 0, 65, 123456789.123, 5])
    assert str(error.value) == (
        "the box [1.5, 0, 65, 1.23457e+08] does not lie in view 0; expected [x0, y0, x1, y1] with "
        "0 <= x0 < x1 <= 64 and 0 <= y0 < y1 <= 32"
    )


def test_a_view_has_no_number_before_the_episode_gives_it_one() -> None:
    space = workspace(30, 20, 16)
    made = space.look(0, (0, 0, 8, 8), enlarge=False, made_by="look")
    over = space.overlay(made, Image.new("L", (8, 8)), made_by="draw")
    assert (made.number, over.number) == (-1, -1)
    assert (made.size, made.made_by) == ((8, 8), "look")


def test_a_forbidden_view_size_names_the_case_and_the_reason() -> None:
    kept = study(512, 512, view_sizes=(32, 64))
    reason = (
        " may be shown whole only at a view_size of 32, 64, not 128: at others its overview would "
        "give away what a tool is to find"
    )
    with pytest.raises(UserError) as error:
        Workspace([kept], view_size=128, names=("a/train/0", "group"))
    assert str(error.value) == f"a/train/0{reason}"
    with pytest.raises(UserError) as error:
        Workspace([kept], view_size=128)
    assert str(error.value) == f"this image{reason}"


def test_the_same_region_of_one_study_is_one_picture() -> None:
    shared = study(64, 64)
    one, other = (Workspace([shared], view_size=32) for _ in range(2))
    assert one.view(0).shown is other.view(0).shown
    looks = [space.look(0, (0, 0, 8, 8), enlarge=True, made_by="a") for space in (one, other)]
    assert looks[0].shown is looks[1].shown
    assert looks[0].shown is not one.view(0).shown


def test_what_a_tool_draws_on_a_view_is_its_own() -> None:
    """The members of a group share the pictures of their views."""
    kept = study(30, 20)
    one, other = (Workspace([kept], view_size=16).view(0) for _ in range(2))
    assert one.shown is other.shown
    held, before = one.shown.image, other.picture.tobytes()
    for change in (
        lambda picture: ImageDraw.Draw(picture).rectangle((0, 0, 9, 9), "red"),
        lambda picture: picture.paste((1, 2, 3), (0, 0, 9, 9)),
        lambda picture: picture.putpixel((0, 0), (1, 2, 3)),
        lambda picture: picture.thumbnail((4, 4)),
    ):
        own = one.picture
        change(own)
        assert own.tobytes() != before
        assert other.picture.tobytes() == held.tobytes() == one.picture.tobytes() == before


def test_a_box_may_lie_outside_by_rounding_alone() -> None:
    space = workspace(2007, 2007)
    whole = space.views[0].to_px([0, 0, 1000, 1000])
    assert whole[2] > 2007
    made = space.add(space.look(0, whole, enlarge=True, made_by="turn"))
    assert made.box_px == (0, 0, 2007, 2007)
    with pytest.raises(ContractError, match="does not lie in image 0"):
        space.add(space.look(0, (0, 0, 2007.01, 2007), enlarge=True, made_by="turn"))
