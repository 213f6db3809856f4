"""Batches of pictures that need no padding: what one yields is the same beside any others."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from .shared import BATCH, Shared


def batches(
    inputs: Sequence[Any], keys: Sequence[Hashable], held: Shared
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """(places, tensors) of the inputs that can be computed together.

    Args:
        inputs: what the processor made of each picture: tensors by name, each of one row or more.
        keys: of each; only inputs of one key go together, such as those with the same texts.
        held: the model that they are for, which says where and in which numbers.
    """
    import torch

    groups: dict[Hashable, list[int]] = {}
    for place, (each, key) in enumerate(zip(inputs, keys, strict=True)):
        shapes = tuple((name, tuple(each[name].shape)) for name in each)
        groups.setdefault((key, shapes), []).append(place)
    dtype = next(held.model.parameters()).dtype
    for group in groups.values():
        for start in range(0, len(group), BATCH):
            places = group[start : start + BATCH]
            batch = {
                name: torch.cat([inputs[place][name] for place in places]).to(held.device)
                for name in inputs[places[0]]
            }
            # Coordinates stay exact: in 16 bits a point of a large picture would be pixels away.
            batch["pixel_values"] = batch["pixel_values"].to(dtype)
            yield places, batch
