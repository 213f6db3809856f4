"""Teacher forcing: the log-probabilities that a model gives to tokens that were written before.

Token ids are never touched. Only the pixels may be others than those that were shown, at the same
sizes, so that every placeholder keeps its feature. Rows of one length go through the model
together, in the same company whatever their pixels: a model that does not see says exactly the
same of them, to the last bit.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from PIL import Image

from medgym.local_model import ForcedTokens

from ..rendering import Renderer
from .inputs import base_of, pixels, token_inputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOGETHER = 8
"""Rows that go through the model at once."""


@torch.no_grad()
def forced(
    model: "PreTrainedModel",
    renderer: Renderer,
    rows: Sequence[ForcedTokens],
    images: Sequence[Sequence[Image.Image]] | None = None,
    *,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
) -> list[list[float]]:
    """Log-probabilities (nats) of tokens of each row, one for each place.

    Args:
        model: in the mode, and with the adapter active, that the caller left.
        images: shown in place of the rows' own; as many and of the same sizes.
        temperature: of the distribution. banned: tokens that cannot be sampled.
    """
    shown = [row.images for row in rows] if images is None else images
    values: list[list[float]] = [[] for _ in rows]
    for group in _by_length(rows):
        flat = [image for i in group for image in shown[i]]
        inputs = token_inputs(model, renderer, [rows[i].ids for i in group], flat)
        # Position p predicts token p + 1.
        places = sorted({place for i in group for place in rows[i].places})
        keep = torch.tensor(places, device=model.device) - 1
        scores = model(**inputs, use_cache=False, logits_to_keep=keep).logits
        column = {place: number for number, place in enumerate(places)}
        for number, i in enumerate(group):
            own = scores[number, [column[place] for place in rows[i].places]].double()
            own[:, list(banned)] = -torch.inf
            written = inputs["input_ids"][number, list(rows[i].places)]
            logprobs = torch.log_softmax(own / temperature, dim=-1)
            values[i] = logprobs.gather(1, written[:, None])[:, 0].tolist()
    return values


def _by_length(rows: Sequence[ForcedTokens]) -> Iterator[list[int]]:
    """Indices of rows that need no padding beside each other."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((len(row.ids), len(row.images)), []).append(index)
    for same in groups.values():
        for start in range(0, len(same), TOGETHER):
            yield same[start : start + TOGETHER]


@contextmanager
def in_mode(model: torch.nn.Module, *, training: bool) -> Iterator[None]:
    """The model in train or eval mode; afterwards every module is in the mode that it was in, and
    so is the random generator."""
    was = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.train(training)
        try:
            yield
        finally:
            for module, mode in was.items():
                module.training = mode


@torch.no_grad()
def count_image_features(
    model: "PreTrainedModel", renderer: Renderer, images: Sequence[Image.Image]
) -> int:
    """How many features the model's vision tower makes of images, by running it."""
    base = base_of(model)
    accepted = inspect.signature(base.forward).parameters
    inputs = pixels(renderer, images, accepted)
    moved = {name: value.to(base.device) for name, value in inputs.items()}
    with in_mode(base, training=False):
        made = base.get_image_features(**moved)  # type: ignore[operator]
    found = getattr(made, "pooler_output", made)
    parts = [found] if isinstance(found, torch.Tensor) else list(found)
    return sum(part.numel() // part.shape[-1] for part in parts)
