"""Images are told apart by what a model is given of them, in every family."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medgym.train.models.pixels import alike, encodings
from tests.families import FAMILIES, build


def pictures() -> dict[str, Image.Image]:
    random = np.random.default_rng(0)
    sizes = ((64, 64), (128, 64), (64, 96))
    return {
        str(number): Image.fromarray(random.integers(0, 256, (h, w, 3)).astype(np.uint8))
        for number, (w, h) in enumerate(sizes)
    }


def holds(image_processor: Any) -> None:
    """Encoded one by one, images stand in a batch where they belong, and nowhere else."""
    shown = pictures()
    encoded = encodings(image_processor, shown)
    order = ["2", "0", "1", "0"]
    batch = image_processor(images=[shown[name] for name in order], return_tensors="pt")
    at = 0
    for name in order:
        end = at + len(encoded[name])
        found = [other for other in shown if alike(batch["pixel_values"][at:end], encoded[other])]
        assert found == [name]
        at = end
    assert at == len(batch["pixel_values"])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_image_is_found_in_a_batch(family: str) -> None:
    holds(build(family)[1].image_processor)


def test_images_that_become_tiles_are_found_in_a_batch() -> None:
    image_processor = build("internvl")[1].image_processor
    image_processor.crop_to_patches = True
    lengths = {len(value) for value in encodings(image_processor, pictures()).values()}
    assert len(lengths) > 1, "their numbers of tiles differ"
    holds(image_processor)


def test_half_a_grey_level_is_rounding() -> None:
    values = torch.zeros(2, 3)
    assert alike(values + 0.003, values)
    assert not alike(values + 0.01, values)
    assert not alike(values[:1], values)
