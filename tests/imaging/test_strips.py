"""Work in strips: the same to the last bit as the whole at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medgym.imaging import strips
from medgym.imaging.strips import finite_range, mapped, pixels_of
from medgym.imaging.study import Box, Study, Window

ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, 1e-40)

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
seeds = st.integers(0, 999)


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of a few rows, so that small images have several."""
    monkeypatch.setattr(strips, "STRIP", 10)


def values_of(shape: tuple[int, int], seed: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1000, shape).astype(np.float32)
    values[rng.random(shape) < 0.2] = rng.choice(ODD)
    return values


@given(shapes, seeds)
def test_a_window_is_applied_as_to_the_whole(shape: tuple[int, int], seed: int) -> None:
    values = values_of(shape, seed)
    rng = np.random.default_rng(seed)
    window = Window(float(rng.normal(0, 500)), float(rng.uniform(0.1, 3000)))
    exact = np.nan_to_num(values.astype(np.float64), nan=-np.inf)
    levels = ((exact - window.centre) / window.width + 0.5) * 255
    whole = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
    height, width = shape
    shown = Study(values, window=window).render((0, 0, width, height), (width, height))
    assert np.array_equal(np.asarray(shown)[..., 0], whole)


@given(shapes, seeds)
def test_the_range_is_that_of_the_whole(shape: tuple[int, int], seed: int) -> None:
    values = values_of(shape, seed)
    hidden = np.random.default_rng(seed).random(shape) < 0.3
    for shown in (np.isfinite(values), np.isfinite(values) & ~hidden):
        finite = values[shown]
        want = (float(finite.min()), float(finite.max())) if finite.size else None
        covered = None if shown.sum() == np.isfinite(values).sum() else hidden
        assert finite_range(values, covered) == want


@given(shapes, seeds)
def test_steps_are_taken_as_on_the_whole(shape: tuple[int, int], seed: int) -> None:
    stored = np.random.default_rng(seed).integers(0, 4096, shape, dtype=np.uint16)
    got = mapped(stored, np.float32, lambda rows: rows * 1.7 - 1024.3)
    assert got.dtype == np.float32
    assert np.array_equal(got, (stored * 1.7 - 1024.3).astype(np.float32))


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "PA"]


@settings(max_examples=40)
@given(shapes, seeds, st.sampled_from(MODES))
def test_pictures_of_each_mode_are_read_as_the_whole(
    shape: tuple[int, int], seed: int, mode: str
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    if mode == "LAB":
        picture = Image.frombytes("LAB", shape[::-1], pixels.tobytes())
    elif mode == "PA":
        picture = Image.fromarray(pixels).quantize(7).convert("PA")
    else:
        picture = Image.fromarray(pixels).convert(mode)
    wanted = "L" if mode in {"1", "L", "LA"} else "RGB"
    try:
        whole = np.array(picture.convert(wanted))
    except ValueError:
        with pytest.raises(ValueError, match="conversion"):
            pixels_of(picture, np.uint8, wanted)
        return
    assert np.array_equal(pixels_of(picture, np.uint8, wanted), whole)


@pytest.mark.parametrize(("mode", "dtype"), [("I;16", "<u2"), ("I", "<i4"), ("F", "<f4")])
def test_stored_values_are_read_as_the_whole(mode: str, dtype: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 60_000, (7, 9)).astype(dtype)
    picture = Image.frombytes(mode, (9, 7), pixels.tobytes())
    assert np.array_equal(pixels_of(picture, np.float32), pixels.astype(np.float32))


def test_big_endian_values_are_read_as_the_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60_000, (7, 9)).astype(">u2")
    picture = Image.frombytes("I;16B", (9, 7), pixels.tobytes())
    assert picture.mode == "I;16B"
    assert np.array_equal(pixels_of(picture, np.float32), pixels.astype(np.float32))


def test_a_large_region_is_shown_by_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds a copy of the region meanwhile; small regions are shown at once."""
    monkeypatch.setattr(strips, "_LARGE", 10)
    study = Study(np.zeros((8, 8), np.float32), window=Window(0, 1))
    together = Barrier(2)
    render = Study._rendered

    def met(self: Study, box_px: Box, size: tuple[int, int]) -> Image.Image:
        try:
            together.wait(0.5 if box_px[2] == 8 else 60)
            meetings.append(box_px[2])
        except BrokenBarrierError:
            together.reset()
        return render(self, box_px, size)

    monkeypatch.setattr(Study, "_rendered", met)
    meetings: list[float] = []
    for side in (2, 8):
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(study.render, [(0, 0, side, side)] * 2, [(2, 2)] * 2))
    assert meetings == [2, 2]
