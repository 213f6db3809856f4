"""What a transformers model is called with: padding, pixels, token types and positions.

`token_inputs` and `model_inputs` are for whole conversations, as any trainer makes them.
`ChunkInputs` is for tokens after a cached prefix.
"""

import inspect
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from medgym.imaging.lazy_image import Picture

from ..rendering import Prompt, Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tensors = dict[str, torch.Tensor]

_REMEMBERED = 10_000

_Pattern = tuple[tuple[bool, ...], tuple[tuple[int, ...], ...]]
"""Which tokens are of images, and the grid of each image: all that positions depend on."""


def base_of(model: "PreTrainedModel") -> "PreTrainedModel":
    """The model beneath its adapters."""
    peft: Any = model
    base: PreTrainedModel = peft.get_base_model() if hasattr(model, "get_base_model") else model
    return base


def pad_id(renderer: Renderer) -> int:
    """The token that fills up what is shorter."""
    pad = renderer.tokenizer.pad_token_id
    return int(pad if pad is not None else renderer.eos_token_id)


def model_inputs(
    model: "PreTrainedModel", renderer: Renderer, prompts: Sequence[Prompt]
) -> Tensors:
    """`token_inputs` of prompts."""
    images = [image for prompt in prompts for image in prompt.images]
    return token_inputs(model, renderer, [prompt.ids for prompt in prompts], images)


def token_inputs(
    model: "PreTrainedModel",
    renderer: Renderer,
    rows: Sequence[Sequence[int]],
    images: Sequence[Image.Image],
) -> Tensors:
    """What `model.forward` and `generate` take for rows of different lengths, padded left.

    Args:
        images: of all rows, in the order of their placeholders.
    """
    ids, mask = right_aligned(rows, pad_id(renderer))
    inputs: Tensors = {"input_ids": ids, "attention_mask": mask}
    if images:
        accepted = inspect.signature(base_of(model).forward).parameters
        inputs |= pixels(renderer, images, accepted)
        name = types_name(accepted)
        if name is not None:
            inputs[name] = (ids == renderer.image_token_id).long() * mask
    return {name: value.to(model.device) for name, value in inputs.items()}


def right_aligned(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of rows of different lengths, padded left, and where they are: (rows, width)."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def types_name(accepted: Collection[str]) -> str | None:
    """The name under which a model takes the types of its tokens, if it takes them."""
    names = ("mm_token_type_ids", "token_type_ids")
    return next((name for name in names if name in accepted), None)


def pixels(renderer: Renderer, images: Sequence[Image.Image], accepted: Collection[str]) -> Tensors:
    """What the processor makes of images, as far as the model takes it."""
    made: Mapping[str, torch.Tensor] = renderer.processor.image_processor(
        images=list(images), return_tensors="pt"
    )
    return {name: value for name, value in made.items() if name in accepted}


class PixelCache:
    """Pixels that the processor made when it wrote an image's placeholders, until they are used.

    Attributes:
        limit: bytes that are kept. The oldest pixels are dropped first, and made again if needed.
    """

    limit = 256 * 2**20

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, ...], Tensors] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, object]:
        return {"_made": OrderedDict(), "_bytes": 0}

    def keep(self, pictures: Sequence[Picture], made: Mapping[str, object]) -> None:
        """Keep what the processor made of some pictures together."""
        tensors = {name: value for name, value in made.items() if isinstance(value, torch.Tensor)}
        self._take(pictures)
        self._made[_hashes(pictures)] = tensors
        self._bytes += _bytes(tensors)
        while self._bytes > self.limit:
            self._bytes -= _bytes(self._made.popitem(last=False)[1])

    def of(
        self, renderer: Renderer, rows: Sequence[Sequence[Picture]], accepted: Collection[str]
    ) -> Tensors:
        """What a model takes for the images of several rows, in this order."""
        shown = [row for row in rows if row]
        kept = [self._take(row) for row in shown]
        if any(made is not None for made in kept):
            parts = [
                {name: value for name, value in made.items() if name in accepted}
                if made is not None
                else pixels(renderer, [picture.image for picture in row], accepted)
                for row, made in zip(shown, kept, strict=True)
            ]
            names = parts[0].keys()
            shapes = {tuple((name, part[name].shape[1:]) for name in names) for part in parts}
            if len(shapes) == 1:
                return {name: torch.cat([part[name] for part in parts]) for name in names}
        return pixels(renderer, [picture.image for row in shown for picture in row], accepted)

    def _take(self, pictures: Sequence[Picture]) -> Tensors | None:
        made = self._made.pop(_hashes(pictures), None)
        self._bytes -= _bytes(made or {})
        return made


def _hashes(pictures: Sequence[Picture]) -> tuple[str, ...]:
    return tuple(picture.sha256 for picture in pictures)


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


class ChunkInputs:
    """The inputs of one model for tokens after a cached prefix.

    Args:
        model: any image-text-to-text model, without its adapters.
        renderer: of its processor. pixels: of images that the processor has read already.
    """

    def __init__(self, model: "PreTrainedModel", renderer: Renderer, pixels: PixelCache) -> None:
        self._renderer = renderer
        self._pixels = pixels
        self._pad = pad_id(renderer)
        self.accepted = inspect.signature(model.forward).parameters
        self._types = types_name(self.accepted)
        owners = (model, getattr(model, "model", None))
        self._rope: Any = next((o for o in owners if hasattr(o, "get_rope_index")), None)
        self._known: dict[_Pattern, tuple[torch.Tensor, int]] = {}

    def make(
        self,
        chunks: Sequence[Sequence[int]],
        pictures: Sequence[Sequence[Picture]],
        positions: Sequence[int],
        mask: torch.Tensor,
    ) -> tuple[Tensors, list[int]]:
        """What `forward` takes, and the position that follows each row.

        Args:
            chunks: new tokens of each row. pictures: the images among them.
            positions: of each row's first new token.
            mask: (rows, columns) of all tokens, the new ones in the last columns.
        """
        ids, real = right_aligned(chunks, self._pad)
        shown = any(pictures)
        inputs: Tensors = self._pixels.of(self._renderer, pictures, self.accepted) if shown else {}
        grids = inputs["image_grid_thw"].tolist() if "image_grid_thw" in inputs else []
        inputs |= {"input_ids": ids, "attention_mask": mask}
        if shown and self._types is not None:
            inputs[self._types] = self._token_types(ids * real, mask.shape[1])
        places, following = [], []
        for chunk, row, start in zip(chunks, pictures, positions, strict=True):
            own, grids = grids[: len(row)], grids[len(row) :]
            place, count = self._positions(chunk, own)
            width = ids.shape[1] - len(chunk)
            places.append(torch.nn.functional.pad(place + start, (width, 0)))
            following.append(start + count)
        inputs["position_ids"] = torch.stack(places, dim=-2)
        return inputs, following

    def _token_types(self, ids: torch.Tensor, columns: int) -> torch.Tensor:
        types = (ids == self._renderer.image_token_id).long()
        if self._rope is not None:
            return types  # such a model makes positions of them, one for each new token
        # The others make masks of them, which are indexed by all columns.
        return torch.nn.functional.pad(types, (columns - types.shape[1], 0))

    def _positions(
        self, chunk: Sequence[int], grids: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, int]:
        """Positions of a chunk that begins at 0, and the one that follows it.

        The model itself gives those of images. A chunk that begins elsewhere has the same ones,
        shifted.
        """
        count = len(chunk)
        if self._rope is None:
            return torch.arange(count), count
        if not grids:
            return torch.arange(count).expand(3, count), count
        types = [token == self._renderer.image_token_id for token in chunk]
        pattern = (tuple(types), tuple(tuple(grid) for grid in grids))
        if pattern not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            wanted = inspect.signature(self._rope.get_rope_index).parameters
            offered = {
                "input_ids": torch.tensor([list(chunk)]),
                "mm_token_type_ids": torch.tensor([types]).int(),
                "image_grid_thw": torch.tensor(grids),
                "attention_mask": torch.ones(1, count, dtype=torch.long),
            }
            inputs = {name: value for name, value in offered.items() if name in wanted}
            place = self._rope.get_rope_index(**inputs)[0][:, 0]
            self._known[pattern] = place, int(place.max()) + 1
        return self._known[pattern]
