"""Batches for TRL's `KTOTrainer`: whole episodes, and the words of each behind another's question.

TRL's own collator takes images in the question alone, and shows all of them before any words. Here
a row is an episode's exact tokens with the images of all its turns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from medgym.trajectory import Trajectory

from ..sft.samples import IGNORED, Collator, Sample, sample_of

MISMATCHED = "mismatched"
"""The key of a batch under which the images of the mismatched rows are."""

TEXT = ("input_ids", "attention_mask", "completion_mask", "token_type_ids", "mm_token_type_ids")
"""The tensors of a batch that TRL takes of the mismatched rows too, under names of its own."""


@dataclass(frozen=True)
class Outcome:
    """An episode as KTO learns from it.

    Attributes:
        sample: the whole of it.
        asked: how many of its tokens, and of its images, come before the first reply.
        desirable: whether it is to become likelier.
    """

    sample: Sample
    asked: tuple[int, int]
    desirable: bool


def outcome_of(trajectory: Trajectory, desirable: bool) -> Outcome:
    """An episode as KTO learns from it.

    Raises:
        InvariantError, UserError: as `sample_of`.
    """
    sample = sample_of(trajectory)
    path = trajectory.branch()
    first = next(i for i, node in enumerate(path) if node.role == "assistant")
    tokens = sum(len(node.token_ids) for node in path[:first])
    return Outcome(sample, (tokens, sum(len(node.images) for node in path[:first])), desirable)


def behind(question: Outcome, words: Outcome) -> Sample:
    """What followed one episode's question, with all that its tools showed, behind another's."""
    (ids, images), (own_ids, own_images) = question.asked, words.asked
    return Sample(
        ids=question.sample.ids[:ids] + words.sample.ids[own_ids:],
        mask=question.sample.mask[:ids] + words.sample.mask[own_ids:],
        pictures=question.sample.pictures[:images] + words.sample.pictures[own_images:],
        image_token=question.sample.image_token,
    )


class OutcomeCollator:
    """Makes a batch of episodes as TRL's trainer takes it.

    Args:
        collate: of the model and its processor.
        with_kl: whether the batch also has mismatched rows, by which TRL estimates how far the
            policy is from its reference: the words of each episode behind the next one's question.
    """

    def __init__(self, collate: Collator, *, with_kl: bool) -> None:
        self._collate = collate
        self._with_kl = with_kl

    def __call__(self, rows: Sequence[Outcome]) -> dict[str, object]:
        """Tensors of (episodes, tokens of the longest); the mismatched rows have a width of their
        own, and their images are under `MISMATCHED`."""
        batch: dict[str, object] = dict(masked(self._collate([row.sample for row in rows])))
        batch["label"] = torch.tensor([row.desirable for row in rows])
        if self._with_kl:
            last = (rows[-1], *rows[:-1])
            other = masked(self._collate([behind(*pair) for pair in zip(rows, last, strict=True)]))
            batch |= {f"KL_{key}": other.pop(key) for key in TEXT if key in other}
            batch[MISMATCHED] = other
        return batch


def masked(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A batch of `sft.Collator` with TRL's mask of the policy's tokens in place of labels."""
    found = dict(batch)
    found["completion_mask"] = (found.pop("labels") != IGNORED).long()
    return found
