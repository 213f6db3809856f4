"""A model is shown original pixels in the window of the view, and its boxes are original pixels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medgym.imaging.grey import Window
from medgym.imaging.study import Study
from medgym.tools.models.asked import asked, picture_size
from medgym.workspace import Workspace


def test_the_picture_is_of_original_pixels_in_the_window_of_the_view() -> None:
    values = np.random.default_rng(0).integers(0, 4096, (90, 120)).astype(np.uint16)
    study = Study(values, window=Window(1000.0, 500.0))
    workspace = Workspace([study], view_size=30)
    picture = np.asarray(asked(workspace, 0, None).picture())
    assert picture.shape == (90, 120, 3)
    assert np.array_equal(picture, np.asarray(study.render((0, 0, 120, 90), (120, 90))))
    other = workspace.look(
        0, (10, 20, 50, 60), enlarge=True, made_by=None, window=Window(3000.0, 100.0)
    )
    workspace.add(other)
    part = np.asarray(asked(workspace, 1, [0, 0, 500, 1000]).picture())
    white = values[20:60, 10:30] >= 3050
    assert part.shape == (40, 20, 3)
    assert (part[white] == 255).all()
    assert (part[values[20:60, 10:30] < 2950] == 0).all()


@settings(max_examples=30)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_no_picture_is_too_large_or_a_sliver(width: int, height: int) -> None:
    across, down = picture_size((0.0, 0.0, float(width), float(height)))
    assert max(across, down) <= 2048
    assert max(across, down) <= 16 * min(across, down)


@settings(max_examples=30)
@given(st.lists(st.floats(-50, 300), min_size=4, max_size=4))
def test_a_box_lies_in_its_region_and_has_a_pixel(box: list[float]) -> None:
    workspace = Workspace([Study(np.zeros((60, 80), np.uint8))], coordinates="pixel")
    region = asked(workspace, 0, [10, 20, 50, 40])
    x0, y0, x1, y1 = region.to_px(box, (200, 100))
    assert 10 <= x0 <= x1 - 1 <= 49
    assert 20 <= y0 <= y1 - 1 <= 39


def test_a_box_of_the_picture_is_where_it_was() -> None:
    workspace = Workspace([Study(np.zeros((60, 80), np.uint8))], coordinates="pixel")
    region = asked(workspace, 0, [10, 20, 50, 40])
    assert region.to_px((20, 10, 100, 50), (200, 100)) == (14.0, 22.0, 30.0, 30.0)
