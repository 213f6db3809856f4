"""GIF files as frames, as Pillow puts them together."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

import medgym
from medgym.errors import UserError
from medgym.imaging.study import ImageRef, open_image


def test_a_gif_is_shown_as_pillow_shows_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)) for _ in range(4)]
    for picture in pictures[1:]:
        picture.paste(pictures[0].crop((0, 0, 30, 12)))  # of which only the rest is stored
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    study = medgym.open_study(path)
    with Image.open(path) as opened:
        shown = [np.asarray(each.convert("RGB")) for each in ImageSequence.Iterator(opened)]
    assert study.planes["frame"].count == len(shown) == 4
    for number, each in enumerate(shown):
        np.testing.assert_array_equal(study.values("frame", number), each)
    pictures[0].save(tmp_path / "one.gif")
    assert list(medgym.open_study(tmp_path / "one.gif").planes) == ["image"]


def test_half_a_gif_is_refused(tmp_path: Path) -> None:
    pictures = [Image.new("L", (30, 20), each) for each in (10, 200)]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    assert open_image(ImageRef(uri=f"file:{path}", frame=1)).pixels.shape == (20, 30, 3)
    whole = path.read_bytes()
    for size in (3, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="; fix: "):
            medgym.open_study(path)
