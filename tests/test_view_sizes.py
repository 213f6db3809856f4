"""A view size at which a model's image processor leaves views as they were drawn."""

from typing import Any

import pytest

pytest.importorskip("transformers")

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import Qwen2VLImageProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from medgym.episode import Rules
from medgym.errors import UserError
from medgym.imaging.study import Study
from medgym.view_sizes import arrives, view_multiple_for, view_size_for
from medgym.workspace import Workspace

QWEN2, QWEN3 = (14, 3136, 1_003_520), (16, 65_536, 16_777_216)
"""Patch, least and most pixels as the published processors of Qwen2-VL and Qwen3-VL have them."""


def images(patch: int, least: int, most: int) -> Any:
    return Qwen2VLImageProcessor(
        patch_size=patch, size={"shortest_edge": least, "longest_edge": most}
    )


@pytest.mark.parametrize(
    ("processor", "near", "found"),
    [
        (QWEN2, 448, 448),
        (QWEN2, 450, 448),
        (QWEN2, 32, 56),
        (QWEN2, 1400, 980),  # the most pixels
        (QWEN3, 448, 448),
        (QWEN3, 64, 256),  # the least pixels
        (QWEN3, 500, 512),
        ((14, 784, 12_544), 448, 112),  # a tiny model of the tests
    ],
)
def test_the_view_size_is_the_processors_own(
    processor: tuple[int, int, int], near: int, found: int
) -> None:
    made = images(*processor)
    size = view_size_for(made, near)
    assert size == found
    assert arrives(made, (size, size)) == (size, size)
    assert view_size_for(made, size) == size


@pytest.mark.parametrize("processor", [QWEN2, QWEN3])
@pytest.mark.parametrize("size", [(448, 300), (77, 448), (28, 28), (448, 448), (1, 1)])
def test_an_image_arrives_as_smart_resize_says(
    processor: tuple[int, int, int], size: tuple[int, int]
) -> None:
    patch, least, most = processor
    factor = 2 * patch
    down, across = smart_resize(size[1], size[0], factor, least, most)
    assert arrives(images(*processor), size) == (across, down)
    assert view_multiple_for(images(*processor)) == factor


def test_a_view_of_that_size_reaches_the_model_pixel_by_pixel() -> None:
    """Values of patches are those of the view; of another size they are not."""
    processor = images(*QWEN2)
    view = Image.effect_noise((112, 112), 90).convert("RGB")
    plain = {"do_normalize": False, "return_tensors": "np"}
    shown = processor(images=[view], **plain)["pixel_values"]
    values = sorted((shown.reshape(-1) * 255).round().astype(int))
    assert values[::2] == sorted(view.tobytes())  # each patch is given twice, as two frames
    other = processor(images=[view.resize((120, 120))], **plain)["pixel_values"]
    assert other.shape == shown.shape
    assert sorted((other.reshape(-1) * 255).round().astype(int)) != values


class Fixed:
    """An image processor that makes one size of everything, as SigLIP's does."""

    def __call__(self, images: Any, return_tensors: str) -> Any:
        import numpy as np

        return {"pixel_values": np.zeros((len(images), 3, 896, 896), np.float32)}


def test_a_processor_of_one_size_is_given_that_size() -> None:
    assert view_size_for(Fixed()) == 896
    assert view_multiple_for(Fixed()) == 1


def test_a_processor_that_does_not_say_leaves_the_view_size() -> None:
    def tiles(images: Any, return_tensors: str) -> Any:
        import numpy as np

        return {"pixel_values": np.zeros((3, 3, 16, 16), np.float32)}

    assert arrives(tiles, (448, 448)) is None
    assert view_size_for(tiles, 300) == 300


@pytest.mark.parametrize("processor", [QWEN2, QWEN3])
@given(width=st.integers(1, 3000), height=st.integers(1, 3000), data=st.data())
def test_with_a_view_multiple_no_view_is_resampled(
    processor: tuple[int, int, int], width: int, height: int, data: st.DataObject
) -> None:
    """Whatever is shown of an image, `smart_resize` gives back its size."""
    patch, least, most = processor
    multiple = 2 * patch
    study = Study(np.zeros((height, width), np.uint8))
    made = Workspace([study], view_size=448, view_multiple=multiple)
    right, down = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    box = (0.0, 0.0, float(right), float(down))
    for enlarge in (False, True):
        view = made.look(0, box, enlarge=enlarge, made_by=None)
        across, high = view.size
        assert max(view.size) <= 448
        assert (across % multiple, high % multiple) == (0, 0)
        if across * high >= least:
            assert smart_resize(high, across, multiple, least, most) == (high, across)


def test_a_view_of_a_region_that_is_not_square_reaches_the_model_pixel_by_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 200), np.uint8)
    made = Workspace([Study(noise)], view_size=112, view_multiple=28)
    (view,) = made.views
    assert view.size == (112, 84)
    picture = view.picture
    processor = images(*QWEN2)
    shown = processor(images=[picture], do_normalize=False, return_tensors="np")["pixel_values"]
    values = sorted((shown.reshape(-1) * 255).round().astype(int))
    assert values[::2] == sorted(picture.tobytes())


@pytest.mark.parametrize(("height", "down"), [(160, 84), (180, 112), (20, 28), (200, 112)])
def test_sides_are_the_nearest_multiples(height: int, down: int) -> None:
    made = Workspace([Study(np.zeros((height, 200), np.uint8))], view_size=112, view_multiple=28)
    assert made.views[0].size == (112, down)


@pytest.mark.parametrize(
    ("size", "multiple", "said"),
    [(450, 28, "set view_size to 448"), (20, 32, "set view_size to 32"), (448, 0, "1 or more")],
)
def test_a_view_size_that_is_no_multiple_is_refused(size: int, multiple: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Rules(view_size=size, view_multiple=multiple)
