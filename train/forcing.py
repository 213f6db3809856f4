"""Teacher forcing: the log-probabilities that a model gives to tokens that were written before.

Token ids are never touched. Only the pixels may be others than those that were shown, at the same
sizes, so that every placeholder keeps its feature. Rows of one length go through the model
together, in the same company whatever their pixels: a model that does not see says exactly the
same of them, to the last bit.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from PIL import Image

from medgym.cases import Case
from medgym.trajectory import Trajectory

from .grpo.batch import LostImages, row_of

Kind = Literal["think", "call", "answer", "end", "other"]

KINDS: tuple[Kind, ...] = ("think", "call", "answer", "end", "other")
"""What a sampled token belongs to: a thought, a tool call, the answer behind its opening tag, the
end of a reply, or what stands between these. Whether to answer is decided at the opening tag, what
to answer behind it: that tag is `other`."""

TOGETHER = 8
"""Rows that go through the model at once."""

_SPANS = re.compile(
    r"<think>.*?(?:</think>|\Z)|<tool_call>.*?(?:</tool_call>|\Z)|<answer>.*?(?:</answer>|\Z)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Given:
    """A trajectory's tokens and pictures, as a trainer holds them.

    Attributes:
        case: what was played.
        ids: all tokens up to the policy's last one, placeholders expanded.
        places: of the policy's tokens in `ids`.
        kinds: of these tokens, one for each place.
        logprobs: the sampler's, one for each place; empty in a demonstration.
        images: in the order of their placeholders.
        placeholder: the token that stands for one image feature.
    """

    case: Case
    ids: tuple[int, ...]
    places: tuple[int, ...]
    kinds: tuple[Kind, ...]
    logprobs: tuple[float, ...]
    images: tuple[Image.Image, ...]
    placeholder: int


def givens(
    processor: Any,
    played: Sequence[tuple[Case, Trajectory]],
    pictures: Mapping[str, Image.Image],
) -> list[Given]:
    """What of the played can be forced: trajectories with tokens that did not fail.

    Raises:
        LostImages: an image that one shows is not among the pictures, or its placeholders are not
            those of its images.
    """
    return [
        _given(processor.tokenizer, case, trajectory, pictures)
        for case, trajectory in played
        if trajectory.failure is None and trajectory.kind != "text" and not trajectory.branches
    ]


def _given(
    tokenizer: Any, case: Case, trajectory: Trajectory, pictures: Mapping[str, Image.Image]
) -> Given:
    row = row_of(trajectory, pictures)
    written = [node for node in trajectory.branch() if node.role == "assistant"]
    start = len(row.prompt)
    ids = row.prompt + row.completion
    held, features = ids.count(trajectory.vision_token_ids[0]), sum(row.features)
    if held != features:
        raise LostImages(f"in {case.id} {held} placeholders stand for {features} image features")
    return Given(
        case=case,
        ids=ids,
        places=tuple(start + place for place, own in enumerate(row.mask) if own),
        kinds=tuple(kind for node in written for kind in kinds_of(tokenizer, node.token_ids)),
        logprobs=tuple(value for node in written for value in node.logprobs),
        images=row.images,
        placeholder=trajectory.vision_token_ids[0],
    )


def kinds_of(tokenizer: Any, ids: Sequence[int]) -> tuple[Kind, ...]:
    """What each token of one reply belongs to; a token that reaches into a part is of it."""
    special = {number for number, t in tokenizer.added_tokens_decoder.items() if t.special}
    special |= set(tokenizer.all_special_ids)
    # Decoded one by one, so that every character has its token, whatever they are together.
    pieces = [tokenizer.decode([token], skip_special_tokens=False) for token in ids]
    text = "".join(pieces)
    spans: list[tuple[int, int, Kind]] = []
    for found in _SPANS.finditer(text):
        start, end = found.span()
        if text.startswith("<answer>", start):
            spans.append((start + len("<answer>"), end, "answer"))
        else:
            spans.append((start, end, "think" if text.startswith("<think>", start) else "call"))
    kinds: list[Kind] = []
    at = 0
    for token, piece in zip(ids, pieces, strict=True):
        until = at + len(piece)
        inside = (kind for start, end, kind in spans if start < until and at < end)
        kinds.append("end" if token in special else next(inside, "other"))
        at = until
    return tuple(kinds)


@torch.no_grad()
def forced(
    model: Any,
    processor: Any,
    rows: Sequence[Given],
    images: Sequence[Sequence[Image.Image]] | None = None,
    *,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
) -> list[list[float]]:
    """Log-probabilities (nats) of the policy's tokens of each row, one for each place.

    Args:
        model: as it is, in whatever mode, with whatever adapter is active.
        images: shown in place of the rows' own; as many and of the same sizes.
        temperature: of the distribution. banned: tokens that cannot be drawn.
    """
    shown = [row.images for row in rows] if images is None else images
    values: list[list[float]] = [[] for _ in rows]
    for group in _by_length(rows):
        inputs = model_inputs(model, processor, [rows[i] for i in group], [shown[i] for i in group])
        # Position p predicts token p + 1.
        places = sorted({place for i in group for place in rows[i].places})
        keep = torch.tensor(places, device=model.device) - 1
        scores = model(**inputs, use_cache=False, logits_to_keep=keep).logits
        column = {place: number for number, place in enumerate(places)}
        for number, i in enumerate(group):
            own = scores[number, [column[place] for place in rows[i].places]].double()
            own[:, list(banned)] = -torch.inf
            drawn = inputs["input_ids"][number, list(rows[i].places)]
            logprobs = torch.log_softmax(own / temperature, dim=-1)
            values[i] = logprobs.gather(1, drawn[:, None])[:, 0].tolist()
    return values


def _by_length(rows: Sequence[Given]) -> Iterator[list[int]]:
    """Indices of rows that need no padding beside each other."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((len(row.ids), len(row.images)), []).append(index)
    for same in groups.values():
        for start in range(0, len(same), TOGETHER):
            yield same[start : start + TOGETHER]


def model_inputs(
    model: Any, processor: Any, rows: Sequence[Given], images: Sequence[Sequence[Image.Image]]
) -> dict[str, Any]:
    """What `model.forward` takes for rows of one length and the images shown in them."""
    ids = torch.tensor([row.ids for row in rows])
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    flat = [image for each in images for image in each]
    if flat:
        inputs |= pixels(model, processor, flat)
        accepted = inspect.signature(base_of(model).forward).parameters
        name = next((n for n in ("mm_token_type_ids", "token_type_ids") if n in accepted), None)
        if name is not None:
            inputs[name] = (ids == rows[0].placeholder).long()
    return {name: value.to(model.device) for name, value in inputs.items()}


def pixels(model: Any, processor: Any, images: Sequence[Image.Image]) -> dict[str, Any]:
    """What the image processor makes of images, as far as the model takes it."""
    accepted = inspect.signature(base_of(model).forward).parameters
    made = processor.image_processor(images=list(images), return_tensors="pt")
    return {name: value.to(model.device) for name, value in made.items() if name in accepted}


def base_of(model: Any) -> Any:
    """The model beneath its adapters."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def in_mode(model: Any, *, training: bool) -> Iterator[None]:
    """The model in train or eval mode; afterwards every module is as it was, and so is chance."""
    was = {module: module.training for module in model.modules()}
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        model.train(training)
        try:
            yield
        finally:
            for module, mode in was.items():
                module.training = mode
