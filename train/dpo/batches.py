"""Pairs as samples, and batches of them as TRL takes them: chosen episodes, then rejected ones."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from medgym.errors import UserError
from medgym.metrics.recorded_tokens import LostImages
from medgym.trajectory import Node, Trajectory

from ..data.preferences import relevance
from ..data.preferences.pair import Pair, fault_of
from ..sft.samples import IGNORED, Collator, GetImage, Sample, sample_of
from .loss import PAIR
from .tables import Weight

Exchange = Callable[[int, Pair], Mapping[str, Image.Image]]
"""Gives, for a pair by its number, what is shown in place of images of its chosen episode, by their
content hashes."""


@dataclass(frozen=True)
class Sides:
    """A pair as it is trained on: the samples of both episodes."""

    chosen: Sample
    rejected: Sample


def sides_of(pair: Pair) -> Sides:
    """The samples of a pair. What both share at the start is not trained on.

    Raises:
        InvariantError: an episode must not be trained on.
        UserError: it was recorded without tokens.
    """
    return Sides(*(_after(each, pair.shared) for each in (pair.chosen, pair.rejected)))


def _after(trajectory: Trajectory, shared: int) -> Sample:
    sample = sample_of(trajectory)
    before = sum(len(node.token_ids) for node in trajectory.branch()[:shared])
    return replace(sample, mask=(0,) * before + sample.mask[before:])


def fault_for(pair: Pair, vision_token_ids: Sequence[int]) -> str | None:
    """Why a model cannot learn from a pair, as it is counted; None where it can.

    Args:
        vision_token_ids: the model's.
    """
    fault = fault_of(pair)
    if fault is not None:
        return fault
    if tuple(pair.chosen.vision_token_ids) != tuple(vision_token_ids):
        return "of another model's tokenizer"
    before = [
        [_read(node) for node in each.branch()[: pair.shared]]
        for each in (pair.chosen, pair.rejected)
    ]
    return None if before[0] == before[1] else "different before they branch"


def _read(node: Node) -> tuple[object, ...]:
    return node.token_ids, tuple(use.sha256 for use in node.images)


def usable(
    pairs: Sequence[Pair], vision_token_ids: Sequence[int], *, said: bool = True
) -> list[Pair]:
    """The pairs that a model can learn from; the others are counted on stderr, by their faults.

    Args:
        vision_token_ids: the model's. said: whether this process says so.

    Raises:
        UserError: none is left.
    """
    faults = [fault_for(pair, vision_token_ids) for pair in pairs]
    counted = Counter(fault for fault in faults if fault is not None)
    kept = [pair for pair, fault in zip(pairs, faults, strict=True) if fault is None]
    why = ", ".join(f"{number} {fault}" for fault, number in sorted(counted.items()))
    if not kept:
        raise UserError(
            f"there are no pairs to learn from{f' ({why})' if why else ''}; fix: build others"
        )
    if counted and said:
        print(
            f"DPO: {len(pairs) - len(kept)} of {len(pairs)} pairs left out: {why}", file=sys.stderr
        )
    return kept


def hold_features(
    batch: Mapping[str, torch.Tensor], samples: Sequence[Sample], image_processor: Any
) -> None:
    """Hold the features of every row's images against its placeholders; TRL counts neither.

    Raises:
        LostImages: a row has more or fewer.
    """
    if "image_grid_thw" not in batch:
        return  # the model itself counts them
    merge = image_processor.merge_size**2
    features = (batch["image_grid_thw"].prod(dim=-1) // merge).tolist()
    at = 0
    for row, sample in enumerate(samples):
        end = at + len(sample.pictures)
        given, held = sum(features[at:end]), sample.ids.count(sample.image_token)
        if given != held:
            raise LostImages(
                f"row {row} has {held} placeholders and {given} features; fix: build the pairs by "
                "the model that learns from them"
            )
        at = end


class PairBatches:
    """The collator of pairs: tensors of 2N rows, the chosen first; 3N with exchanged images.

    Rows of the data set hold nothing but a pair's number. Those of held-out cases, which are
    played, are returned as they are.

    Args:
        model, processor: as `Collator` takes them.
        pairs: by their numbers.
        get_image: gives their images.
        exchange: gives the images of the third rows, if there are any.

    Attributes:
        unchanged: the pairs of which a third row was made that shows no other image; the term
            `image` learns nothing from them.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        processor: Any,
        pairs: Sequence[Pair],
        get_image: GetImage,
        exchange: Exchange | None = None,
    ) -> None:
        self.pairs = pairs
        self._sides = [sides_of(pair) for pair in pairs]
        self._get_image = get_image
        self._image_processor = processor.image_processor
        self._exchange = exchange
        self._others: dict[str, Image.Image] = {}
        self.unchanged: set[int] = set()
        self._collate = Collator(model, processor, self._picture)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """What a model's `forward` takes, with `completion_mask` and the pairs' numbers.

        Raises:
            ExchangedImages: an image is not the one that its episode shows.
        """
        if PAIR not in rows[0]:
            return list(rows)
        numbers = [int(row[PAIR]) for row in rows]
        sides = [self._sides[number] for number in numbers]
        samples = [side.chosen for side in sides] + [side.rejected for side in sides]
        self._others = {}
        if self._exchange is not None:
            samples += [self._with_others(number) for number in numbers]
        batch: dict[str, torch.Tensor] = dict(self._collate(samples))
        hold_features(batch, samples, self._image_processor)
        batch["completion_mask"] = (batch.pop("labels") != IGNORED).long()
        batch[PAIR] = torch.tensor(numbers)
        return batch

    def _with_others(self, number: int) -> Sample:
        """The chosen sample of a pair with other images."""
        assert self._exchange is not None
        sample = self._sides[number].chosen
        others = self._exchange(number, self.pairs[number])
        if not others:
            self.unchanged.add(number)
        named = {name: f"{number} {name}" for name in others}
        self._others |= {named[name]: image for name, image in others.items()}
        return replace(sample, pictures=tuple(named.get(name, name) for name in sample.pictures))

    def _picture(self, name: str) -> Image.Image:
        other = self._others.get(name)
        return self._get_image(name) if other is None else other


def weights_of(pairs: Sequence[Pair], weight: Weight) -> torch.Tensor:
    """The weight of each pair's loss, around 1: see `relevance`."""
    return torch.tensor(relevance.weights_of(pairs, weight))
