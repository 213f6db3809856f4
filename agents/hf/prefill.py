"""The forward passes of a batch of requests: prefill, and decoding one more token of each.

`ModelRunner.prefill` takes prompts of any lengths at once, each from where its cached prefix ends.
What is computed for a row does not depend on the rows beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from medgym.imaging.lazy_image import Picture

from ..rendering import Prompt, Renderer
from .inputs import ChunkInputs, PixelCache
from .kv_cache import BatchedKVCache, CachedPrefix, KVLayout, RowSlice, spare

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FORWARD_TOKENS = 16_384
"""Tokens of one forward pass at most, padding included: more gain no speed and cost memory."""

WASTE = 1.5
"""Prompts are prefilled together as long as padding makes no more than this of their tokens."""


@dataclass(frozen=True)
class Batch:
    """The rows of several requests, and the model's scores of each row's next token.

    Attributes:
        cache: their keys and values. lengths: tokens of each row.
        positions: of each row's next token. places: the same, as `forward` takes them.
        scores: (rows, vocabulary).
        mask: (rows, columns of the cache), where tokens are and will be.
    """

    cache: BatchedKVCache
    lengths: list[int]
    positions: list[int]
    scores: torch.Tensor
    mask: torch.Tensor
    places: torch.Tensor

    def prefix(self, row: int, images: int, dropping: int = 0) -> CachedPrefix:
        """A copy of a row for the prefix cache, without its last `dropping` tokens of text."""
        length = self.lengths[row] - dropping
        planes = self.cache.take(row, length, self.cache.used - dropping)
        return CachedPrefix(planes, length, self.positions[row] - dropping, images)


@dataclass(frozen=True)
class Prefill:
    """A prompt to be prefilled, and the prefix of it that is cached."""

    prompt: Prompt
    cached: CachedPrefix | None = None

    @property
    def chunk(self) -> tuple[int, ...]:
        """Its tokens after the cached prefix."""
        return self.prompt.ids[self.cached.length if self.cached else 0 :]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The images among them."""
        return self.prompt.pictures[self.cached.images if self.cached else 0 :]


@dataclass
class ModelRunner:
    """Runs a model over batches, in the mode and with the adapters that the caller has set.

    Attributes:
        model: without its adapters' wrapper. layout: what it keeps of a token.
        pixels: of images that the processor has read already.
    """

    model: "PreTrainedModel"
    renderer: Renderer
    layout: KVLayout
    pixels: PixelCache = field(default_factory=PixelCache)
    _inputs: ChunkInputs = field(init=False)

    def __post_init__(self) -> None:
        self._inputs = ChunkInputs(self.model, self.renderer, self.pixels)
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in self._inputs.accepted else {}

    def prefill(self, prefills: Sequence[Prefill], wanted: int) -> list[tuple[Batch, list[int]]]:
        """Prefill prompts, in as few forward passes as pay off.

        Args:
            wanted: how many tokens may come after them at most.

        Returns:
            Batches, each with the places in `prefills` that its rows have.
        """
        sizes = [len(each.chunk) for each in prefills]
        groups: list[list[int]] = []
        for place in sorted(range(len(sizes)), key=lambda place: sizes[place]):
            together = [*groups[-1], place] if groups else [place]
            padded = len(together) * sizes[place]
            pays = padded <= WASTE * sum(sizes[p] for p in together) + 64
            if groups and pays and padded <= FORWARD_TOKENS:
                groups[-1].append(place)
            else:
                groups.append([place])
        return [
            (self.prefill_together([prefills[p] for p in group], wanted), group) for group in groups
        ]

    @torch.no_grad()
    def prefill_together(self, prefills: Sequence[Prefill], wanted: int) -> Batch:
        """Prefill prompts in one forward pass, however different their lengths."""
        chunks = [each.chunk for each in prefills]
        lengths = [len(each.prompt.ids) for each in prefills]
        new, width = max(map(len, chunks)), max(lengths)
        past = [each.cached for each in prefills]
        slices = [
            RowSlice(prefix.planes, [0], prefix.length, prefix.length, width - len(chunk))
            if prefix is not None
            else None
            for prefix, chunk in zip(past, chunks, strict=True)
        ]
        room = spare(width, wanted)
        cache = BatchedKVCache.join(self.layout, slices, width - new, new + room)
        device = self.model.device
        sizes = torch.tensor([len(chunk) for chunk in chunks])
        if int(sizes.min()) < new:
            real = torch.arange(new) >= new - sizes[:, None]
            cache.real = real[:, None, :, None].to(device)
        mask = mask_of(lengths, width, room)
        inputs, positions = self._inputs.make(
            chunks,
            [each.pictures for each in prefills],
            [prefix.position if prefix else 0 for prefix in past],
            mask[:, :width],
        )
        moved = {name: value.to(device) for name, value in inputs.items()}
        output = self.model(past_key_values=cache, use_cache=True, **self._last, **moved)
        cache.used, cache.real = width, None
        places = moved["position_ids"][..., -1:] + 1
        return Batch(cache, lengths, positions, output.logits[:, -1], mask.to(device), places)

    @torch.no_grad()
    def decode(self, batch: Batch, tokens: torch.Tensor, wanted: int) -> Batch:
        """The batch with one more token of each row, (rows, 1); up to `wanted` more may follow."""
        if batch.cache.used == batch.cache.room:
            batch = self.join([(batch, range(len(batch.lengths)))], wanted + 1)
        cache = batch.cache
        output = self.model(
            input_ids=tokens,
            attention_mask=batch.mask[:, : cache.used + 1],
            position_ids=batch.places,
            past_key_values=cache,
            use_cache=True,
        )
        cache.used += 1
        return Batch(
            cache,
            [length + 1 for length in batch.lengths],
            [position + 1 for position in batch.positions],
            output.logits[:, -1],
            batch.mask,
            batch.places + 1,
        )

    def join(self, parts: Sequence[tuple[Batch, Sequence[int]]], wanted: int) -> Batch:
        """One batch of rows of several, in this order; a row may be given several times."""
        lengths = [batch.lengths[row] for batch, rows in parts for row in rows]
        width = max(lengths)
        slices = []
        for batch, rows in parts:
            used = batch.cache.used
            longest = max(batch.lengths[row] for row in rows)
            slices.append(RowSlice(batch.cache.planes, rows, used, longest, width))
        room = spare(width, wanted)
        device = self.model.device
        indices = [torch.tensor(list(rows), device=device) for _, rows in parts]
        batches = [batch for batch, _ in parts]

        def picked(tensors: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
            pairs = zip(tensors, indices, strict=True)
            return torch.cat([t.index_select(axis, index) for t, index in pairs], dim=axis)

        return Batch(
            BatchedKVCache.join(self.layout, slices, width, room),
            lengths,
            [batch.positions[row] for batch, rows in parts for row in rows],
            picked([batch.scores for batch in batches], 0),
            mask_of(lengths, width, room).to(device),
            picked([batch.places for batch in batches], -2),
        )


def mask_of(lengths: Sequence[int], width: int, room: int) -> torch.Tensor:
    """(rows, width + room): 1 where a row has tokens or gets new ones."""
    starts = width - torch.tensor(lengths)
    return (torch.arange(width + room) >= starts[:, None]).long()
