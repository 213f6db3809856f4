"""A prior is found under the current image again, or refused."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from skimage.data import data_dir

from medgym.errors import ToolError
from medgym.imaging.study import ImageRef, Study, open_image
from medgym.registration import registered, warped
from medgym.tool import ToolResult
from medgym.tools.compare import Compare
from medgym.workspace import Workspace

RETINA = np.asarray(Image.open(f"{data_dir}/retina.jpg").reduce(6))
CT = np.asarray(
    open_image(ImageRef(uri=f"file:{get_testdata_file('CT_small.dcm')}")).render(
        (0, 0, 128, 128), (128, 128)
    )
)


def called(workspace: Workspace, view: int = 0, prior: int = 1, **other: Any) -> ToolResult:
    tool = Compare()
    result = tool(tool.parse({"view": view, "prior_view": prior, **other}), workspace)
    for shown in result.views:
        workspace.add(shown)
    return result


def later(prior: Any, turn: float, size: float, shift: tuple[float, float]) -> tuple[Any, Any]:
    """An image as it looks later, and the map from its pixels to those of the prior."""
    angle = np.radians(turn)
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / size
    middle = np.array([prior.shape[1], prior.shape[0]]) / 2
    matrix = np.column_stack([linear, middle - linear @ (middle + shift)])
    moved = [warped(prior[..., c].astype(float), matrix, prior.shape[:2], 0.0) for c in range(3)]
    return np.stack(moved, axis=2) * 0.7 + 20, matrix


@pytest.mark.parametrize(
    ("prior", "turn", "size", "shift"),
    [(CT, 0.0, 1.0, (9, -4)), (RETINA, 12.0, 0.92, (-8, 5)), (CT, -21.0, 1.2, (0, 3))],
)
def test_a_moved_image_is_found_again(prior: Any, turn: float, size: float, shift: Any) -> None:
    now, matrix = later(prior, turn, size, shift)
    now[40:50, 60:70] = 240
    pair = [Study(now.astype(np.uint8)), Study(prior)]
    workspace = Workspace(pair, view_size=128)
    result = called(workspace)
    side = prior.shape[0]
    points = np.array([[0.3, 0.7, 0.5], [0.3, 0.4, 0.75]]) * side
    given = np.vstack([points, np.ones(3)])
    assert np.abs(np.array(result.data["matrix"]) @ given - matrix @ given).max() < 0.01 * side
    assert result.data["correlation"] > 0.9
    assert result.data["turned_degrees"] == pytest.approx(turn, abs=1)
    shown, difference = result.views
    assert (shown.image, difference.image) == (1, 0)
    assert difference.box_px == (0, 0, side, side)
    change = np.asarray(difference.picture, np.int16)[..., 0]
    scale = difference.size[0] / side
    square = change[int(42 * scale) : int(48 * scale), int(62 * scale) : int(68 * scale)]
    assert square.mean() > 200
    rest = np.abs(change - 128) > 40
    assert rest.sum() < 0.06 * rest.size + 4 * 100 * scale**2


def test_a_zoomed_view_is_found_in_the_prior_by_its_millimetres() -> None:
    grey = CT[..., 0]
    fine = np.kron(grey, np.ones((2, 2), np.uint8))
    workspace = Workspace([Study(fine, (0.5, 0.5)), Study(grey, (1.0, 1.0))], view_size=128)
    workspace.add(workspace.look(0, (40, 60, 220, 240), enlarge=True, made_by="zoom"))
    result = called(workspace, view=2)
    assert np.abs(np.subtract(result.data["prior_px"], (20, 30, 110, 120))).max() <= 1
    assert np.array(result.data["matrix"])[:, :2] == pytest.approx(np.eye(2) / 2, abs=0.01)


def test_a_turn_is_an_angle_at_the_patient() -> None:
    tall = np.kron(CT[..., 0], np.ones((2, 2), np.uint8))
    now, _ = later(np.stack([tall] * 3, axis=2), 15.0, 1.0, (0, 0))
    pair = [Study(each[::2, :, 0].astype(np.uint8), (1.0, 0.5)) for each in (now, tall[..., None])]
    result = called(Workspace(pair, view_size=128))
    assert result.data["turned_degrees"] == pytest.approx(15, abs=1)


def test_a_prior_that_is_flipped_left_to_right_is_refused() -> None:
    with pytest.raises(ToolError, match="flipped left to right"):
        called(Workspace([Study(CT), Study(CT[:, ::-1].copy())], view_size=128))


def test_two_unlike_images_are_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90)).astype(np.uint8)
    flat = np.zeros((50, 50), np.uint8)
    small = CT[:1, :1]
    for one, other in ((RETINA, CT), (noise, CT), (flat, CT), (small, small)):
        with pytest.raises(ToolError, match="expected views of the same region") as error:
            called(Workspace([Study(one), Study(other)], view_size=64))
        assert "correlation" in str(error.value)


def test_registration_is_no_matter_of_the_other_order() -> None:
    prior = RETINA[::3, ::3]
    now, matrix = later(prior, 7.0, 1.1, (2, 1))
    first, second = now[..., 1] / 255, prior[..., 1] / 255
    forth, back = registered(first, second), registered(second, first)
    assert forth is not None
    assert back is not None
    there = np.vstack([forth.matrix, [0, 0, 1]])
    again = np.vstack([back.matrix, [0, 0, 1]]) @ there
    corners = np.array([[20.0, 20, 1], [60, 20, 1], [40, 60, 1]]).T
    assert np.abs(again @ corners - corners).max() < 1
    assert np.abs(there[:2] @ corners - matrix @ corners).max() < 1


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"prior": 0}, "expected views of two"),
        ({"view": 1}, "expected views of two"),
        ({"prior": 7}, "expected 0 to 1"),
        ({"prior": -1}, "greater than or equal to 0"),
        ({"prior": "1"}, "valid integer"),
        ({"box": [0, 0, 1, 1]}, "expected the arguments view, prior_view"),
    ],
)
def test_what_cannot_be_compared_says_what_was_expected(call: Any, expected: str) -> None:
    with pytest.raises(ToolError) as error:
        called(Workspace([Study(CT), Study(CT)], view_size=64), **call)
    assert expected in str(error.value)
