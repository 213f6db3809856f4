"""What was shown comes back from its PNG, and grey views are written as grey values."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from medgym.imaging.lazy_image import image_hash
from medgym.png import png_bytes, png_image
from medgym.storage.trajectories import ImageStore

_SIDES = st.integers(1, 9)


def _mode(png: bytes) -> str:
    with Image.open(io.BytesIO(png)) as image:
        return image.mode


@given(st.data(), st.sampled_from(["RGB", "L", "grey"]))
def test_an_image_comes_back(data: st.DataObject, kind: str) -> None:
    sides = data.draw(_SIDES), data.draw(_SIDES)
    pixels = data.draw(arrays(np.uint8, (*sides, 3) if kind == "RGB" else sides))
    image = Image.fromarray(pixels)
    image = image.convert("RGB") if kind == "grey" else image
    back = png_image(png_bytes(image), image_hash(image))
    assert back.mode == image.mode
    assert back.tobytes() == image.tobytes()


def test_only_grey_is_written_as_grey() -> None:
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert("RGB")
    assert _mode(png_bytes(grey)) == "L"
    for channel in range(3):
        pixels = np.array(grey)
        pixels[7, 7, channel] ^= 1
        assert _mode(png_bytes(Image.fromarray(pixels))) == "RGB"


def test_other_pixels_are_refused() -> None:
    one, other = Image.new("RGB", (3, 2), (5, 5, 5)), Image.new("RGB", (3, 2), (5, 5, 6))
    with pytest.raises(ValueError, match="other pixels"):
        png_image(png_bytes(one), image_hash(other))
    # The hash of grey values is not that of the same in colour.
    with pytest.raises(ValueError, match="other pixels"):
        png_image(png_bytes(one.convert("RGB")), image_hash(Image.new("L", (3, 2), 6)))


def test_a_store_gives_a_grey_view_as_it_was_shown(tmp_path: Path) -> None:
    store, grey = ImageStore(tmp_path), Image.new("RGB", (4, 4), (9, 9, 9))
    store.put_png(image_hash(grey), png_bytes(grey))
    assert store.get(image_hash(grey)).mode == "RGB"
    assert store.get(image_hash(grey)).tobytes() == grey.tobytes()
