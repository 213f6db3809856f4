import numpy as np
from PIL import Image

from medgym.imaging.drawing import GOLD, LOOKED, Mark, enlarged, marked, sheet


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (90, 90, 90))


def test_enlarging_repeats_whole_pixels() -> None:
    small = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    large = np.asarray(enlarged(small, 30))
    assert large.shape == (24, 24)
    assert (large == np.kron(np.asarray(small), np.ones((3, 3)))).all()


def test_shrinking_keeps_the_aspect() -> None:
    assert enlarged(grey(400, 100), 200).size == (200, 50)
    assert enlarged(grey(200, 1), 100).size == (100, 1)


def test_boxes_are_drawn_where_they_lie() -> None:
    marks = [Mark((10, 20, 30, 40), GOLD), Mark((50, 50, 100, 100), LOOKED, "1")]
    drawn = np.asarray(marked(grey(100, 100), (0, 0, 100, 100), marks, 200))
    assert drawn.shape == (200, 200, 3)
    assert tuple(drawn[40, 30]) == (0, 200, 83)
    assert tuple(drawn[100, 150]) == (255, 157, 0)
    assert tuple(drawn[60, 40]) == (90, 90, 90)


def test_a_box_is_placed_within_the_region_that_the_view_shows() -> None:
    drawn = np.asarray(marked(grey(50, 50), (100, 100, 200, 200), [Mark((120, 140, 160, 180))], 50))
    assert tuple(drawn[20, 10]) == (255, 157, 0)


def test_a_sheet_holds_every_tile() -> None:
    tiles = [(f"a long caption of tile {i}", [grey(40, 30), grey(40, 20)]) for i in range(3)]
    wide, tall = sheet(tiles, 3), sheet(tiles, 1)
    assert (tall.width - 16) * 3 + 32 == wide.width
    assert tall.height > 2 * wide.height
    assert sheet(tiles[:1], 4).width == tall.width
