"""Supervised learning on trajectories: the loss is on the policy's tokens alone.

TRL's SFTTrainer renders messages anew through the chat template and so cannot be given the exact
token ids of a trajectory together with its images; this is the plainest loop that can. A sample is
the concatenation of a trajectory from root to leaf, as the sampler held it. Samples of one length
go through the model together, so nothing is padded. The same seed, samples and machine make the
same weights.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from medgym.errors import UserError
from medgym.trajectory import Trajectory, validate

from .recipe import SFTTable


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
            "mend: play it as demonstrations of the model that learns from it"
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


def supervised(
    model: Any,
    processor: Any,
    trajectories: Sequence[Trajectory],
    pictures: Mapping[str, Image.Image],
    config: SFTTable,
    *,
    seed: int,
    token_weights: Mapping[int, float] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> None:
    """Train `model` in place to write what the trajectories' policy wrote.

    Args:
        trajectories: demonstrations in the model's tokens (or what it sampled itself).
        pictures: the images that they show, by content hash.
        config: steps, learning rate, batch size, and whether the vision tower learns as well.
        seed: of the order in which samples come.
        token_weights: factor on the loss of a token, by its id; 1 where none is given.
        on_step: receives the step and its mean loss for a token.

    Raises:
        InvariantError, UserError: as `sample_of`; no trajectories.
    """
    samples = [sample_of(trajectory) for trajectory in trajectories]
    if not samples:
        raise UserError("there is nothing to imitate; mend: choose cases for the demonstrations")
    frozen = [] if config.train_vision else [w for w in _vision(model) if w.requires_grad]
    for weight in frozen:
        weight.requires_grad_(False)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(
        weights, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    steps = config.max_steps
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    scale = torch.ones(model.get_output_embeddings().weight.shape[0], device=model.device)
    for token, factor in (token_weights or {}).items():
        scale[token] = factor
    rng = np.random.default_rng(seed)
    order: list[int] = []
    was_training = model.training
    model.train()
    for step in range(steps):
        while len(order) < config.per_device_train_batch_size:
            order += rng.permutation(len(samples)).tolist()
        batch = [samples[i] for i in order[: config.per_device_train_batch_size]]
        order = order[len(batch) :]
        total, tokens = 0.0, sum(sum(sample.mask) for sample in batch)
        for together in _by_length(batch):
            loss = _loss(model, processor, together, pictures, scale) / tokens
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        rate.step()
        if on_step is not None:
            on_step(step, total)
    for weight in frozen:
        weight.requires_grad_(True)
    model.train(was_training)


def _vision(model: Any) -> list[torch.nn.Parameter]:
    """The weights of the vision tower, which has one of two names in transformers' models."""
    towers = [getattr(model.model, name, None) for name in ("visual", "vision_tower")]
    return [weight for tower in towers if tower is not None for weight in tower.parameters()]


def _rate(step: int, steps: int) -> float:
    """Up over a tenth of the steps, level for a third, then down along a half cosine."""
    done = step / steps
    level = 1.0 if done < 0.3 else 0.5 * (1 + math.cos(math.pi * (done - 0.3) / 0.7))
    return min(1.0, (step + 1) / max(1, min(30, steps // 10))) * (level + 0.02)


def _by_length(batch: Sequence[Sample]) -> list[list[Sample]]:
    groups: dict[tuple[int, int], list[Sample]] = {}
    for sample in batch:
        groups.setdefault((len(sample.ids), len(sample.pictures)), []).append(sample)
    return [groups[key] for key in sorted(groups)]


def _loss(
    model: Any,
    processor: Any,
    samples: Sequence[Sample],
    pictures: Mapping[str, Image.Image],
    scale: torch.Tensor,
) -> torch.Tensor:
    """The summed, weighted loss of samples of one length; scores are made only where it is."""
    ids = torch.tensor([sample.ids for sample in samples], device=model.device)
    mask = torch.tensor([sample.mask for sample in samples], device=model.device)
    inputs: dict[str, Any] = {"input_ids": ids, "use_cache": False}
    accepted = inspect.signature(model.forward).parameters
    images = [pictures[name] for sample in samples for name in sample.pictures]
    if images:
        inputs |= processor.image_processor(images=images, return_tensors="pt").to(model.device)
        if "mm_token_type_ids" in accepted:
            inputs["mm_token_type_ids"] = (ids == samples[0].image_token).int()
    # Position p predicts token p + 1.
    places = mask.any(dim=0).nonzero()[:, 0]
    scores = model(**inputs, logits_to_keep=places - 1).logits
    target = ids[:, places]
    loss = functional.cross_entropy(
        scores.flatten(0, 1).float(), target.flatten(), reduction="none"
    ).view(target.shape)
    return (loss * scale[target] * mask[:, places]).sum()
