"""`enhance` changes what is seen of the original pixels, and only of those asked for."""

from typing import Any

import numpy as np
import pytest

from medgym.errors import ToolError
from medgym.imaging.grey import Window
from medgym.imaging.study import Study
from medgym.tool import ToolResult
from medgym.tools.enhance import Enhance, enhanced
from medgym.workspace import Workspace

RNG = np.random.default_rng(5)
RAMP = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
HOW = ("clahe", "gamma", "invert", "sharpen", "denoise", "edges")


def called(workspace: Workspace, view: int = 0, **arguments: Any) -> ToolResult:
    tool = Enhance()
    return tool(tool.parse({"view": view, **arguments}), workspace)


def shown(study: Study, view_size: int = 64, **arguments: Any) -> Any:
    (view,) = called(Workspace([study], view_size=view_size), **arguments).views
    return np.asarray(view.picture, np.int16)[..., 0]


def test_inverted_and_gamma_are_exact() -> None:
    assert np.array_equal(shown(Study(RAMP), how="invert"), 255 - RAMP)
    wanted = np.rint(255 * np.sqrt(RAMP / 255))
    assert np.array_equal(shown(Study(RAMP), how="gamma"), wanted)
    assert np.array_equal(shown(Study(RAMP), how="gamma", gamma=1.0), RAMP)
    assert shown(Study(RAMP), how="gamma", gamma=3.0).mean() < RAMP.mean()


def test_a_region_is_enhanced_by_itself() -> None:
    pixels = RAMP.copy()
    pixels[:, :32] = RNG.integers(0, 256, (64, 32))
    for how in ("clahe", "sharpen", "edges"):
        (whole,) = called(
            Workspace([Study(pixels)], view_size=32), how=how, box=[500, 0, 1000, 1000]
        ).views
        alone = shown(Study(pixels[:, 32:]), view_size=32, how=how)
        assert whole.box_px == (32, 0, 64, 64)
        assert np.array_equal(np.asarray(whole.picture)[..., 0], alone), how


def test_what_a_window_hardly_shows_is_stretched_from_the_values() -> None:
    # Two halves that differ by 3 of 4,000 units: no two grey levels, but two values.
    values = np.full((64, 64), 1000.0, np.float32) + RNG.normal(0, 0.5, (64, 64)).astype(np.float32)
    values[:, 32:] += 3
    study = Study(values, window=Window(1000, 4000))
    assert len(np.unique(np.asarray(study.render((0, 0, 64, 64), (64, 64))))) <= 2
    made = shown(study, how="clahe")
    assert made[:, 34:].mean() - made[:, :30].mean() > 20


def test_noise_falls_and_an_edge_stays() -> None:
    clean = np.where(np.arange(64) < 32, 80, 170) + np.zeros((64, 1))
    noisy = np.clip(clean + RNG.normal(0, 12, (64, 64)), 0, 255)
    made = 255 * enhanced(noisy / 255, "denoise")
    assert np.abs(made - clean).mean() < 0.4 * np.abs(noisy - clean).mean()
    assert made[:, 34].mean() - made[:, 29].mean() > 80


def test_edges_and_sharpness_are_where_levels_change() -> None:
    step = np.where(np.arange(64) < 32, 0.3, 0.6) + np.zeros((64, 1))
    edges = enhanced(step, "edges")
    assert edges[:, 31:33].min() == pytest.approx(1)
    assert edges[:, :28].max() == edges[:, 36:].max() == 0
    sharp = enhanced(step, "sharpen")
    assert sharp[:, 31].max() < 0.3 < 0.6 < sharp[:, 32].min()


@pytest.mark.parametrize("how", HOW)
def test_colours_are_enhanced_in_every_pixel(how: Any) -> None:
    colours = np.stack([RAMP, RAMP.T, RAMP[::-1, ::-1]], axis=2) / 255 * 0.9
    made = enhanced(colours, how)
    again = enhanced(colours.copy(), how)
    assert np.array_equal(made, again)
    assert made.shape[:2] == (64, 64)
    assert np.ptp(made.reshape(64, 64, -1), axis=(0, 1)).min() > 0.2


@pytest.mark.parametrize("how", HOW)
def test_an_image_of_one_level_or_one_pixel_shows_nothing(how: str) -> None:
    for pixels in (np.full((9, 30), 90, np.uint8), np.full((1, 1), 90, np.uint8)):
        made = shown(Study(pixels), how=how)
        assert np.ptp(made) == 0


def test_hidden_pixels_stay_unseen() -> None:
    hidden = np.zeros(RAMP.shape, np.bool_)
    hidden[:20] = True
    for how in HOW:
        made = shown(Study(RAMP, hidden=hidden), how=how)
        assert made[:16].max() == (255 if how == "invert" else 0), how
        other = RAMP.copy()
        other[:20] = RNG.integers(0, 256, (20, 64))
        assert np.array_equal(made, shown(Study(other, hidden=hidden), how=how))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"how": "blur"}, "'clahe', 'gamma'"),
        ({}, "expected the arguments view, how"),
        ({"how": "gamma", "gamma": 0}, "greater than or equal to 0.1"),
        ({"how": "gamma", "gamma": float("nan")}, "finite number"),
        ({"how": "edges", "gamma": 0.5}, "expected it left out"),
        ({"how": "edges", "box": [5, 5, 5, 9]}, "0 <= x0 < x1 <= 1000"),
        ({"how": "edges", "box": [9, 5, 5, 1]}, "0 <= x0 < x1 <= 1000"),
        ({"how": "edges", "box": [0, 0, 1e308, 9]}, "0 <= x0 < x1 <= 1000"),
        ({"how": "edges", "view": 1}, "expected 0 to 0"),
    ],
)
def test_what_cannot_be_enhanced_says_what_was_expected(call: Any, expected: str) -> None:
    with pytest.raises(ToolError) as error:
        called(Workspace([Study(RAMP)], view_size=64), **call)
    assert expected in str(error.value)
