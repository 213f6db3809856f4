"""Whether a model's state may be held between turns: found by trying, not from a list of names.

A model may place its tokens, or mask its images, in ways that go wrong when it reads on from keys
and values instead of reading everything anew; or it may keep something else than keys and values
(recurrent states). So at a policy's first use a short dialogue with images is read twice: at once,
as a trainer reads it, and turn by turn beside other rows, as `Decoder` does. Only where both say
the same is anything held; other models are read anew at every turn, by transformers' `generate`.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import DynamicCache

from medgym.failures import reason_of
from medgym.messages import ImagePart, Message, Reply, TextPart, message

from ..rendering import Prompt, Renderer
from .inputs import Pixels, base_of, model_inputs
from .kv_cache import Geometry, NotHoldable
from .prefill import Batch, Reader, Reading

LOG = logging.getLogger("medgym")

LEAST = 1e-4
"""Root mean square difference of log-probabilities that is never taken for a fault."""

NOISE = 20
"""So many times the difference that padding alone makes is none either."""


def reader_for(model: Any, renderer: Renderer, pixels: Pixels) -> Reader | None:
    """What reads turn by turn; None for a model that has to read everything anew.

    The model is in eval mode, with the adapter active that is to play.
    """
    try:
        difference, allowed, reader = _tried(model, renderer, pixels)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # models fail in as many ways as there are models
        reason = reason_of(error)[:200]
    else:
        if difference <= allowed:
            return reader
        reason = f"log-probabilities differ by {difference:.1e}, over {allowed:.1e}"
    name = type(base_of(model)).__name__
    LOG.warning("%s reads everything anew at each turn: %s", name, reason)
    return None


def _tried(model: Any, renderer: Renderer, pixels: Pixels) -> tuple[float, float, Reader]:
    """How far the two readings differ, how far they may, and the reader."""
    base = base_of(model)
    if any(getattr(c, "is_prompt_learning", False) for c in _adapters(model)):
        raise NotHoldable("its adapter is a prompt")
    first, second, tail = _dialogue(renderer)
    whole = Prompt(second.ids + tail, second.pictures, second.image_tokens)
    with torch.no_grad():
        wanted = _logprobs(base(**model_inputs(model, renderer, [whole])).logits[0])
        both = [_longer(whole), whole]
        beside = base(**model_inputs(model, renderer, both)).logits[1, -len(whole.ids) :]
        noise = max(map(_rms, wanted, _logprobs(beside)))
        cache = DynamicCache()
        start = torch.tensor([whole.ids[:1]], device=model.device)
        base(input_ids=start, past_key_values=cache, use_cache=True)
    reader = Reader(base, renderer, Geometry.of(cache), pixels)
    found: list[tuple[int, torch.Tensor]] = []

    def follow(batch: Batch, tokens: Sequence[int]) -> Batch:
        """The first row is the dialogue; what stands beside it reads the same tokens."""
        found.append((batch.lengths[0] - 1, _logprobs(batch.scores[0])))
        for token in tokens:
            both = torch.full((len(batch.lengths), 1), token, device=model.device)
            batch = reader.extend(batch, both, 8)
            found.append((batch.lengths[0] - 1, _logprobs(batch.scores[0])))
        return batch

    # Beside a longer one, so that the dialogue is padded, and its past lies beneath padding.
    batch = reader.together([Reading(first), Reading(_longer(first))], 8)
    batch = follow(batch, second.ids[len(first.ids) : second.held - 1])
    readings = [
        Reading(prompt, batch.held(line, len(first.pictures)))
        for line, prompt in enumerate([second, _longer(second, tail * 2)])
    ]
    follow(reader.together(readings, 8), tail)
    difference = max(_rms(wanted[place], scores) for place, scores in found)
    return difference, max(LEAST, 16 * torch.finfo(model.dtype).eps, NOISE * noise), reader


def _adapters(model: Any) -> Any:
    return getattr(model, "peft_config", {}).values()


def _longer(prompt: Prompt, after: tuple[int, ...] = ()) -> Prompt:
    """The same with something before it, and after it."""
    return Prompt(prompt.ids[:1] * 9 + prompt.ids + after, prompt.pictures, prompt.image_tokens)


def _logprobs(scores: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(scores.double(), dim=-1)


def _rms(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).square().mean().sqrt())


def _dialogue(renderer: Renderer) -> tuple[Prompt, Prompt, tuple[int, ...]]:
    """The prompts of two turns, with images of several sizes in both, and a second reply."""
    rng = np.random.default_rng(0)

    def picture(width: int, height: int) -> ImagePart:
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        return ImagePart(0, Image.fromarray(pixels))

    said = [message("user", "What is this?", [picture(64, 64), picture(96, 48)])]
    first = renderer.prompt(said)
    ids = renderer.encode_reply("look")
    reply = Reply("look", first.ids, ids, (0.0,) * len(ids), first.image_tokens)
    said.append(Message("assistant", (TextPart("look"),), reply))
    said.append(message("tool", "Once more, and from nearby.", [picture(48, 96)]))
    return first, renderer.prompt(said), ids[:-1]
