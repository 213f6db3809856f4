"""A model reads: prompts of any lengths at once, each from where it was left.

`Reader` runs the forward passes of a batch: `read` for prompts, of which some continue what is held
and some begin, and `extend` for one more token of each. What belongs to a row is the same whatever
stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from medgym.imaging.lazy_image import Picture

from ..rendering import Prompt, Renderer
from .inputs import ChunkInputs, Pixels
from .kv_cache import Arena, Geometry, Held, Piece, spare

FORWARD_TOKENS = 16_384
"""Tokens of one forward pass at most, padding included: more gain no speed and cost memory."""

WASTE = 1.5
"""Rows are read together as long as padding makes no more than this of their tokens."""


@dataclass(frozen=True)
class Batch:
    """Rows side by side, and what the model says of each row's next token.

    Attributes:
        arena: their keys and values. lengths: tokens of each row.
        positions: of each row's next token. places: the same, as `forward` takes them.
        scores: (rows, vocabulary).
        mask: (rows, columns of the arena), where tokens are and will be.
    """

    arena: Arena
    lengths: list[int]
    positions: list[int]
    scores: torch.Tensor
    mask: torch.Tensor
    places: torch.Tensor

    def held(self, row: int, images: int, dropping: int = 0) -> Held:
        """A copy of what a row left behind, without its last `dropping` tokens of text."""
        length = self.lengths[row] - dropping
        planes = self.arena.take(row, length, self.arena.used - dropping)
        return Held(planes, length, self.positions[row] - dropping, images)


@dataclass(frozen=True)
class Reading:
    """A prompt to be read, and what is held of it."""

    prompt: Prompt
    held: Held | None = None

    @property
    def chunk(self) -> tuple[int, ...]:
        """Its tokens that were not read yet."""
        return self.prompt.ids[self.held.length if self.held else 0 :]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The images among them."""
        return self.prompt.pictures[self.held.images if self.held else 0 :]


@dataclass
class Reader:
    """Runs a model over batches; the model's own mode and adapters are the caller's business.

    Attributes:
        model: without its adapters' shell. geometry: what a token leaves behind in it.
        pixels: what is made of images already.
    """

    model: Any
    renderer: Renderer
    geometry: Geometry
    pixels: Pixels = field(default_factory=Pixels)
    _inputs: ChunkInputs = field(init=False)

    def __post_init__(self) -> None:
        self._inputs = ChunkInputs(self.model, self.renderer, self.pixels)
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in self._inputs.accepted else {}

    def read(self, readings: Sequence[Reading], wanted: int) -> list[tuple[Batch, list[int]]]:
        """Read prompts, in as few forward passes as pay.

        Args:
            wanted: how many tokens may come after them at most.

        Returns:
            Batches, each with the places in `readings` that its rows have.
        """
        sizes = [len(reading.chunk) for reading in readings]
        groups: list[list[int]] = []
        for place in sorted(range(len(sizes)), key=lambda place: sizes[place]):
            together = [*groups[-1], place] if groups else [place]
            padded = len(together) * sizes[place]
            pays = padded <= WASTE * sum(sizes[p] for p in together) + 64
            if groups and pays and padded <= FORWARD_TOKENS:
                groups[-1].append(place)
            else:
                groups.append([place])
        return [(self.together([readings[p] for p in group], wanted), group) for group in groups]

    @torch.no_grad()
    def together(self, readings: Sequence[Reading], wanted: int) -> Batch:
        """Read prompts in one forward pass, however different their lengths."""
        chunks = [reading.chunk for reading in readings]
        lengths = [len(reading.prompt.ids) for reading in readings]
        new, width = max(map(len, chunks)), max(lengths)
        pieces = [
            Piece(r.held.planes, [0], r.held.length, r.held.length, width - len(chunk))
            if r.held is not None
            else None
            for r, chunk in zip(readings, chunks, strict=True)
        ]
        room = spare(width, wanted)
        arena = Arena.join(self.geometry, pieces, width - new, new + room)
        device = self.model.device
        sizes = torch.tensor([len(chunk) for chunk in chunks])
        if int(sizes.min()) < new:
            real = torch.arange(new) >= new - sizes[:, None]
            arena.real = real[:, None, :, None].to(device)
        mask = mask_of(lengths, width, room)
        inputs, positions = self._inputs.make(
            chunks,
            [reading.pictures for reading in readings],
            [reading.held.position if reading.held else 0 for reading in readings],
            mask[:, :width],
        )
        moved = {name: value.to(device) for name, value in inputs.items()}
        output = self.model(past_key_values=arena, use_cache=True, **self._last, **moved)
        arena.used, arena.real = width, None
        places = moved["position_ids"][..., -1:] + 1
        return Batch(arena, lengths, positions, output.logits[:, -1], mask.to(device), places)

    @torch.no_grad()
    def extend(self, batch: Batch, tokens: torch.Tensor, wanted: int) -> Batch:
        """The batch with one more token of each row, (rows, 1); up to `wanted` more may follow."""
        if batch.arena.used == batch.arena.room:
            batch = self.join([(batch, range(len(batch.lengths)))], wanted + 1)
        arena = batch.arena
        output = self.model(
            input_ids=tokens,
            attention_mask=batch.mask[:, : arena.used + 1],
            position_ids=batch.places,
            past_key_values=arena,
            use_cache=True,
        )
        arena.used += 1
        return Batch(
            arena,
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
        pieces = []
        for batch, rows in parts:
            used = batch.arena.used
            longest = max(batch.lengths[row] for row in rows)
            pieces.append(Piece(batch.arena.planes, rows, used, longest, width))
        room = spare(width, wanted)
        device = self.model.device
        indices = [torch.tensor(list(rows), device=device) for _, rows in parts]
        batches = [batch for batch, _ in parts]

        def picked(tensors: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
            pairs = zip(tensors, indices, strict=True)
            return torch.cat([t.index_select(axis, index) for t, index in pairs], dim=axis)

        return Batch(
            Arena.join(self.geometry, pieces, width, room),
            lengths,
            [batch.positions[row] for batch, rows in parts for row in rows],
            picked([batch.scores for batch in batches], 0),
            mask_of(lengths, width, room).to(device),
            picked([batch.places for batch in batches], -2),
        )


def mask_of(lengths: Sequence[int], width: int, room: int) -> torch.Tensor:
    """(rows, width + room): 1 where a row has tokens or will have new ones."""
    starts = width - torch.tensor(lengths)
    return (torch.arange(width + room) >= starts[:, None]).long()
