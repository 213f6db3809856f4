"""How many tokens stand for an image: what a processor writes, and what it says of an image's size.

The two are counted independently, so that they can be compared. A processor that does not say, or
that says something else than it writes, is refused: nothing could hold the placeholders of an image
against its features.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from medgym.errors import UserError
from medgym.models import OTHER_MODEL, check_counts_images

if TYPE_CHECKING:
    from transformers import ProcessorMixin

_PROBES = ((64, 48), (40, 96))
"""(width, height) of the images with which a processor is tried."""


def check_processor(processor: Any) -> None:
    """Refuse a processor for which placeholders cannot be counted.

    Raises:
        UserError: it reads no images, or does not say how many placeholders an image takes.
    """
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise UserError(
            "the model reads no images; fix: choose a vision-language model with a processor"
        )
    check_counts_images(type(processor))


def count_features(processor: Any, images: Sequence[Image.Image]) -> tuple[int, ...]:
    """How many features a processor says that it makes of each image: counted from its size, not
    from the placeholders in a text."""
    return counts_of(processor, [(image.width, image.height) for image in images])


def counts_of(processor: Any, sizes: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """`count_features` of images of some sizes, each (width, height)."""
    turned = [(height, width) for width, height in sizes]
    counts = processor._get_num_multimodal_tokens(image_sizes=turned)
    # InternVL counts the two tokens before and after an image as well.
    around = 2 if hasattr(processor, "start_image_token") else 0
    return tuple(int(n) - around for n in counts["num_image_tokens"])


def check_counts(processor: Any, text: str, placeholder: int) -> None:
    """Hold the placeholders that a processor writes against what it says of the images' sizes.

    Args:
        text: a prompt with one image in it, as the chat template writes it.
        placeholder: the token that stands for one image feature.

    Raises:
        UserError: they differ.
    """
    for size in _PROBES:
        image = Image.new("RGB", size)
        inputs = processor(text=[text], images=[image], add_special_tokens=False)
        written = list(inputs["input_ids"][0]).count(placeholder)
        (counted,) = counts_of(processor, [size])
        if written != counted:
            raise UserError(
                f"{type(processor).__name__} writes {written} placeholders for an image of "
                f"{size[0]} x {size[1]} pixels and counts {counted} tokens for it, so an image "
                f"that was lost or cut would not be noticed; {OTHER_MODEL}"
            )


def settle_images(processor: "ProcessorMixin") -> None:
    """Write a processor's own defaults for images into its image processor.

    A processor applies them, but its image processor, which trainers call, does not: InternVL's
    would cut an image into tiles in the one and not in the other.
    """
    defaults = getattr(type(processor), "images_kwargs", None)
    if defaults is None:  # where transformers before 5.20 has them
        kinds = getattr(processor, "valid_processor_kwargs", None)
        defaults = getattr(kinds, "_defaults", {}).get("images_kwargs")
    for name, value in (defaults or {}).items():
        setattr(processor.image_processor, name, value)


def image_token(processor: Any) -> str:
    """The token that a chat template writes for an image."""
    return str(processor.image_token)


def placeholder_of(processor: Any) -> int:
    """The token that stands for one image feature; some `image_token`s only announce them."""
    ids = getattr(processor, "image_token_ids", None)
    return int(ids[0] if ids else processor.tokenizer.convert_tokens_to_ids(processor.image_token))
