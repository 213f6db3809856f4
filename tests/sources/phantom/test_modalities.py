"""Pixels: the exactness on which the source rests, the head-room, the same bytes everywhere."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medgym.imaging.study import Study
from medgym.sources.phantom import modalities as drawing
from medgym.sources.phantom.modalities import (
    APPEARANCES,
    GRIDS,
    KINDS,
    Lesion,
    draw,
    tile,
    view_sizes,
)
from medgym.sources.phantom.rng import RandomStream

QUICK_SIZES = (256, 512, 896)


@pytest.mark.parametrize("size", GRIDS)
def test_geometry_is_that_of_the_construction(size: int) -> None:
    grid = GRIDS[size]
    assert size % grid.block == 0
    assert size // grid.block % 2 == 0  # the midline of the image is one of the grid
    doublings = size // grid.paint
    assert grid.paint * doublings == size
    assert doublings & (doublings - 1) == 0
    for side in view_sizes(size):
        k, rest = divmod(size, side)
        assert rest == 0
        assert k & (k - 1) == 0
        assert k % (2 * grid.half_period) == 0
        assert grid.block % k == 0


@pytest.mark.parametrize("size", GRIDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_texture_has_the_same_sum_in_every_block(kind: str, size: int) -> None:
    grid = GRIDS[size]
    texture = tile(kind, grid.half_period, grid.block)
    for side in view_sizes(size):
        k = size // side
        blocks = texture.reshape(grid.block // k, k, grid.block // k, k)
        assert (blocks.sum(axis=(1, 3)) == k * k // 2).all()
        rows = blocks.sum(axis=3)
        if kind == "banded":  # whole rows: full or empty
            assert set(np.unique(rows)) == {0, k}
        else:
            assert (rows == k // 2).all()


def test_textures_differ() -> None:
    seen = {tile(kind, 4, 16).tobytes() for kind in KINDS}
    assert len(seen) == len(KINDS)


@st.composite
def scenes(draw_from: st.DrawFn) -> tuple[str, int, int, tuple[tuple[int, int], ...]]:
    look, size = (
        draw_from(st.sampled_from(list(APPEARANCES))),
        draw_from(st.sampled_from(QUICK_SIZES)),
    )
    grid = size // GRIDS[size].block
    cell = st.tuples(st.integers(0, grid - 1), st.integers(0, grid - 1))
    cells = draw_from(st.lists(cell, min_size=1, max_size=12, unique=True))
    return look, size, draw_from(st.integers(0, 2**63 - 1)), tuple(cells)


@settings(max_examples=25, deadline=None)
@given(scenes())
def test_overviews_do_not_depend_on_the_kind(
    scene: tuple[str, int, int, tuple[tuple[int, int], ...]],
) -> None:
    look, size, seed, cells = scene
    twins = [draw(look, size, seed, "test", Lesion(kind, cells)) for kind in KINDS]
    assert len({twin.tobytes() for twin in twins}) == len(KINDS)
    for side in view_sizes(size):
        k = size // side
        seen = [set() for _ in range(4)]  # type: list[set[bytes]]
        for twin in twins:
            picture = Image.fromarray(twin)
            seen[0].add(Study(twin).render((0, 0, size, size), (side, side)).tobytes())
            seen[1].add(picture.reduce(k).tobytes())
            seen[2].add(picture.resize((side, side), Image.Resampling.BOX).tobytes())
            blocks = twin.reshape(side, k, side, k, -1).astype(np.float32)
            seen[3].add(blocks.mean(axis=(1, 3), dtype=np.float32).tobytes())
        assert [len(ways) for ways in seen] == [1, 1, 1, 1]


@settings(max_examples=20, deadline=None)
@given(scenes())
def test_the_texture_changes_each_block_by_half_the_contrast(
    scene: tuple[str, int, int, tuple[tuple[int, int], ...]],
) -> None:
    look, size, seed, cells = scene
    style, block = APPEARANCES[look], GRIDS[size].block
    before = draw(look, size, seed, "test", None)
    after = draw(look, size, seed, "test", Lesion("oblique", cells))
    assert before.shape == ((size, size, 3) if style.colour else (size, size))
    assert after.dtype == np.uint8
    room = before if style.dark else 255 - before
    assert room.min() >= style.contrast
    change = (after.astype(int) - before).reshape(size, size, -1)
    means = change.reshape(size // block, block, size // block, block, -1).mean(axis=(1, 3))
    expected = np.zeros(means.shape)
    for column, row in cells:
        expected[row, column] = style.contrast / 2 * (-1 if style.dark else 1)
    assert (means == expected).all()


@pytest.mark.parametrize("look", APPEARANCES)
def test_paintings_leave_room_for_shading_and_grain(look: str) -> None:
    # Shading and grain are added in uint8: were there no room, dark specks would show the overflow.
    style = APPEARANCES[look]
    painting = drawing.painting(look, 256, "train", 0, False)
    assert painting.max() <= style.top
    assert style.top + style.shading + style.grain <= (255 if style.dark else 255 - style.contrast)
    assert style.contrast % 2 == 0
    for step in range(drawing.GAINS):
        table = drawing._gain(step, style.top if style.dark else 0)
        assert max(table[: style.top + 1]) <= style.top


@pytest.mark.parametrize("look", APPEARANCES)
def test_backgrounds_vary(look: str) -> None:
    images = {draw(look, 256, seed, "train", None).tobytes() for seed in range(20)}
    assert len(images) == 20
    assert draw(look, 256, 1, "train", None).tobytes() != draw(look, 256, 1, "test", None).tobytes()


FROZEN = {
    "radiograph": "748fbd2449c30283",
    "ct": "6c742f09ff3deba6",
    "fundus": "a3ec56dbd5bb3c89",
    "histology": "1b8d0efc3276344b",
}
"""Pixels are part of a case: who changes them changes every result, and says so in CHANGELOG."""


def digest(look: str) -> str:
    lesion = Lesion("granular", ((7, 9), (8, 9), (8, 10)))
    images = [draw(look, size, 2026, "train", lesion) for size in (256, 512, 896)]
    return hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()[:16]


@pytest.mark.parametrize("look", APPEARANCES)
def test_pixels_are_frozen(look: str) -> None:
    assert digest(look) == FROZEN[look]


def test_another_process_draws_the_same_pixels() -> None:
    program = (
        "import hashlib; from medgym.sources.phantom.modalities import draw, APPEARANCES\n"
        "drawn = [draw(look, 256, 7, 'train', None).tobytes() for look in APPEARANCES]\n"
        "print([hashlib.sha256(pixels).hexdigest() for pixels in drawn])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    # Another order of looks here: no drawing may depend on what was drawn before it.
    here = {k: draw(k, 256, 7, "train", None).tobytes() for k in reversed(APPEARANCES)}
    assert run.stdout.strip() == str([hashlib.sha256(here[k]).hexdigest() for k in APPEARANCES])


def test_chance_is_uniform_and_repeats() -> None:
    rng = RandomStream(3)
    values = [rng.real(-1, 1) for _ in range(2000)]
    assert -1 <= min(values) < -0.99
    assert 0.99 < max(values) < 1
    assert {RandomStream(5).integer(2, 9) for _ in range(9)} == {RandomStream(5).integer(2, 9)}
    wholes = [rng.integer(2, 5) for _ in range(300)]
    assert set(wholes) == {2, 3, 4}
    assert rng.reals(3, 4).shape == (3, 4)
    assert rng.bytes(5, 3).shape == (5, 3)
