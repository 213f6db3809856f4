"""Trajectories as samples of supervised learning, and batches of them.

TRL's own data path renders messages again. Here a sample is a trajectory's exact token ids from its
root to the policy's last token, with its images, as the sampler held them. The loss is on the
policy's tokens only; every other label is -100.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from medgym.errors import UserError
from medgym.metrics.recorded_tokens import ExchangedImages
from medgym.trajectory import Trajectory, validate

from ..models.pixels import alike, encodings

IGNORED = -100
"""The label of a token without loss, as torch's cross-entropy has it."""

GetImage = Callable[[str], Image.Image]
"""Gives an image by its content hash."""


@dataclass(frozen=True)
class Sample:
    """One trajectory as it is trained on.

    Attributes:
        ids: all tokens, image placeholders expanded.
        mask: 1 on those that the policy wrote, 0 on all others.
        pictures: content hashes of the images, in the order of their placeholders.
        image_token: the id of a placeholder.
    """

    ids: tuple[int, ...]
    mask: tuple[int, ...]
    pictures: tuple[str, ...]
    image_token: int


def sample_of(trajectory: Trajectory) -> Sample:
    """The sample of a trajectory, up to the policy's last token.

    Raises:
        InvariantError: the trajectory must not be trained on.
        UserError: it was recorded without tokens.
    """
    if trajectory.kind == "text":
        raise UserError(
            f"the trajectory of {trajectory.case_id} holds no tokens; "
            "fix: play it as demonstrations of the model that learns from it"
        )
    validate(trajectory)
    last = max(i for i, node in enumerate(trajectory.nodes) if node.role == "assistant")
    branch = trajectory.branch(last)
    return Sample(
        ids=tuple(token for node in branch for token in node.token_ids),
        mask=tuple(value for node in branch for value in node.loss_mask),
        pictures=tuple(use.sha256 for node in branch for use in node.images),
        image_token=trajectory.vision_token_ids[0],
    )


class Collator:
    """Makes a batch of samples: what a model's `forward` takes, and its `labels`.

    Shorter samples are padded on the right, without attention and without loss.

    Args:
        model: says by its signature which token types it wants.
        processor: its image processor encodes the images of all samples together.
        get_image: gives their images.
    """

    def __init__(self, model: torch.nn.Module, processor: Any, get_image: GetImage) -> None:
        accepted = inspect.signature(model.forward).parameters
        names = ("mm_token_type_ids", "token_type_ids")
        self._types = next((name for name in names if name in accepted), None)
        self._processor = processor
        self._get_image = get_image
        pad = processor.tokenizer.pad_token_id
        self._pad = int(processor.tokenizer.eos_token_id if pad is None else pad)

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Tensors of (samples, tokens of the longest); images as the processor encodes them.

        Raises:
            ExchangedImages: an image is not the one that its sample shows.
        """
        ids = _padded([s.ids for s in samples], self._pad)
        held = _padded([(1,) * len(s.ids) for s in samples], 0)
        wrote = _padded([s.mask for s in samples], 0)
        batch: dict[str, torch.Tensor] = {
            "input_ids": ids,
            "attention_mask": held,
            "labels": ids.masked_fill(wrote == 0, IGNORED),
        }
        names = [name for sample in samples for name in sample.pictures]
        pictures = {name: self._get_image(name) for name in dict.fromkeys(names)}
        images = [pictures[name] for name in names]
        if images:
            batch |= self._processor.image_processor(images=images, return_tensors="pt")
            self._hold_images(batch["pixel_values"], samples, pictures)
        if self._types is not None:
            batch[self._types] = (ids == samples[0].image_token).long() * held
        return batch

    def _hold_images(
        self,
        values: torch.Tensor,
        samples: Sequence[Sample],
        pictures: Mapping[str, Image.Image],
    ) -> None:
        """Insist that each image is where its sample shows it.

        Raises:
            ExchangedImages: it is another one.
        """
        encoded = encodings(self._processor.image_processor, pictures)
        at = 0
        for row, sample in enumerate(samples):
            for place, name in enumerate(sample.pictures):
                end = at + len(encoded[name])
                if not alike(values[at:end], encoded[name]):
                    raise ExchangedImages(
                        f"image {place + 1} of sample {row} is given to the model as another one "
                        f"than {name[:12]}…, which was shown"
                    )
                at = end


def _padded(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *(fill,) * (width - len(row))] for row in rows])
