"""What TRL made of a step, held against the trajectories that it was made from.

Counts of images and placeholders stay right where one image takes another's place, or a mask is
late by one token. So every step compares the content itself: tokens, masks, log-probabilities and
the pixels that the model is given, with what was recorded when it was sampled. It is exact and
costs no forward pass: every image that the step shows is encoded once more, however many rows show
it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from medgym.imaging.lazy_image import image_hash
from medgym.metrics.recorded_tokens import ExchangedImages
from medgym.trajectory import InvariantError, Node, Trajectory

from ...models.pixels import alike, encodings
from ..batch import BatchRow


def hold_content(
    made: Mapping[str, Any],
    trajectories: Sequence[Trajectory],
    rows: Sequence[BatchRow],
    silent: Sequence[bool],
    pictures: Mapping[str, Image.Image],
    image_processor: Any,
) -> None:
    """Insist that TRL trains on what was sampled.

    Args:
        made: what `_generate_and_score_completions` returned.
        trajectories: what its rows are made from, in their order.
        rows: what TRL was given. A failed trajectory has no content; its row is another one, which
            stands in for it and shows its own images.
        silent: which rows train nothing.
        pictures: the images that they show, by content hash.
        image_processor: the model's.

    Raises:
        InvariantError: tokens, masks or log-probabilities are others.
        ExchangedImages: an image is.
    """
    tensors = {
        name: made[name].cpu()
        for name in (
            "prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "tool_mask",
            "sampling_per_token_logps",
        )
    }  # fmt: skip
    known = dict(pictures)
    shown: list[tuple[str, ...]] = []
    for number, trajectory in enumerate(trajectories):
        row = {name: tensor[number] for name, tensor in tensors.items()}
        if trajectory.failure is None:
            nodes = _read(trajectory)
            _hold_row(trajectory.case_id, row, nodes, silent[number])
            shown.append(tuple(use.sha256 for node in nodes for use in node.images))
            continue
        if (row["completion_mask"] * row["tool_mask"]).any():
            raise InvariantError(5, f"{trajectory.case_id} failed and trains nevertheless")
        stand_in = {image_hash(image): image for image in rows[number].images}
        known |= stand_in
        shown.append(tuple(map(image_hash, rows[number].images)))
    _hold_hashes({name for names in shown for name in names}, known)
    if made.get("pixel_values") is not None:
        _hold_pixels(made, shown, known, image_processor)


def _read(trajectory: Trajectory) -> list[Node]:
    """What the policy read and wrote: up to its last reply, no model reads what follows."""
    nodes = list(trajectory.branch())
    while nodes[-1].role != "assistant":
        nodes.pop()
    return nodes


def _hold_row(
    case_id: str, row: Mapping[str, torch.Tensor], nodes: Sequence[Node], silent: bool
) -> None:
    first, *rest = nodes
    sampled = [node.role == "assistant" for node in rest]
    lengths = torch.tensor([len(node.token_ids) for node in rest])
    mask = torch.tensor(sampled).repeat_interleave(lengths)
    values = torch.zeros(len(mask))
    values[mask] = torch.tensor([value for node in rest for value in node.logprobs])
    kept = row["completion_mask"].bool()
    held = {
        "tokens of the prompt": (row["prompt_ids"][row["prompt_mask"].bool()], first.token_ids),
        "tokens": (row["completion_ids"][kept], [i for node in rest for i in node.token_ids]),
        "mask": (row["tool_mask"][kept], mask.long() * (not silent)),
        "log-probabilities": (row["sampling_per_token_logps"][kept], values),
    }
    for what, (given, expected) in held.items():
        wanted = torch.as_tensor(expected).to(given.dtype)
        if given.shape == wanted.shape and torch.equal(given, wanted):
            continue
        length = min(len(given), len(wanted))
        places = torch.nonzero(given[:length] != wanted[:length])
        place = int(places[0]) if len(places) else length
        raise InvariantError(
            2,
            f"in {case_id} the {what} that the trainer is given are not those that were sampled, "
            f"from token {place} on; fix: see what changes them between the trajectory and TRL",
        )


def _hold_hashes(names: set[str], pictures: Mapping[str, Image.Image]) -> None:
    for name in sorted(names):
        if image_hash(pictures[name]) != name:
            raise ExchangedImages(f"the image {name[:12]}… is another one than was shown")


def _hold_pixels(
    made: Mapping[str, Any],
    shown: Sequence[Sequence[str]],
    pictures: Mapping[str, Image.Image],
    image_processor: Any,
) -> None:
    names = dict.fromkeys(name for row in shown for name in row)
    encoded = encodings(image_processor, {name: pictures[name] for name in names})
    at = 0
    for row, own in enumerate(shown):
        if len(own) != made["num_images"][row]:
            raise ExchangedImages(
                f"row {row} showed {len(own)} images and is given {made['num_images'][row]}"
            )
        for place, name in enumerate(own):
            given = made["pixel_values"][at : at + len(encoded[name])]
            at += len(encoded[name])
            if not alike(given, encoded[name]):
                raise ExchangedImages(
                    f"image {place + 1} of row {row} reaches the model as another one than "
                    f"{name[:12]}…, which was shown"
                )
