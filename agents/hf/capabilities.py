"""Whether a model's keys and values can be kept between turns: found by trying, not from a list.

A model may place its tokens, or mask its images, in ways that go wrong when a prefill continues
cached keys and values; or its state may be another one (recurrent states). So at a policy's first
use a short dialogue with images is read twice: at once, as a trainer reads it, and turn by turn
beside other rows, as `Decoder` reads it. Only where both give the same log-probabilities is a
prefix cache used. Other models prefill the whole conversation at every turn, by transformers'
`generate`.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from transformers import DynamicCache

from medgym.failures import reason_of
from medgym.messages import ImagePart, Message, Reply, TextPart, message

from ..rendering import Prompt, Renderer
from .inputs import PixelCache, base_of, model_inputs
from .kv_cache import KVLayout, NotCacheable
from .prefill import Batch, ModelRunner, Prefill

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOG = logging.getLogger("medgym")

LEAST = 1e-4
"""A root mean square difference of log-probabilities that is never a fault."""

NOISE = 20
"""So many times the difference that padding by itself makes is no fault either."""


def computed_in(model: "PreTrainedModel") -> torch.dtype:
    """The type that a model's layers compute in now: that of autocast, where it is on."""
    kind = model.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype


def runner_for(
    model: "PreTrainedModel", renderer: Renderer, pixels: PixelCache
) -> ModelRunner | None:
    """What runs the model turn by turn; None for one that has to prefill everything every time.

    The model is in eval mode, with the adapter active that is to play.
    """
    try:
        difference, allowed, runner = _tried(model, renderer, pixels)
    except torch.OutOfMemoryError:
        raise
    except NotCacheable as error:
        reason = str(error)
    except Exception as error:  # models fail in as many ways as there are models
        reason = reason_of(error)[:200]
    else:
        if difference <= allowed:
            return runner
        reason = f"log-probabilities differ by {difference:.1e}, over {allowed:.1e}"
    name = type(base_of(model)).__name__
    LOG.warning("%s prefills the whole conversation at each turn: %s", name, reason)
    return None


def _tried(
    model: "PreTrainedModel", renderer: Renderer, pixels: PixelCache
) -> tuple[float, float, ModelRunner]:
    """How far the two ways of reading differ, how far they may, and the runner."""
    base = base_of(model)
    if any(
        getattr(c, "is_prompt_learning", False) for c in getattr(model, "peft_config", {}).values()
    ):
        raise NotCacheable("its adapter is a prompt")
    if any(hasattr(layer, "recurrent_states") for layer in DynamicCache(config=base.config).layers):
        raise NotCacheable("it keeps recurrent states")
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
    runner = ModelRunner(base, renderer, KVLayout.of(cache), pixels)
    found: list[tuple[int, torch.Tensor]] = []

    def follow(batch: Batch, tokens: Sequence[int]) -> Batch:
        """The first row is the dialogue; the row beside it is given the same tokens."""
        found.append((batch.lengths[0] - 1, _logprobs(batch.scores[0])))
        for token in tokens:
            both = torch.full((len(batch.lengths), 1), token, device=model.device)
            batch = runner.decode(batch, both, 8)
            found.append((batch.lengths[0] - 1, _logprobs(batch.scores[0])))
        return batch

    # Beside a longer one, so that the dialogue is padded, and its past lies beneath padding.
    batch = runner.prefill_together([Prefill(first), Prefill(_longer(first))], 8)
    batch = follow(batch, second.ids[len(first.ids) : second.held - 1])
    prefills = [
        Prefill(prompt, batch.prefix(row, len(first.pictures)))
        for row, prompt in enumerate([second, _longer(second, tail * 2)])
    ]
    follow(runner.prefill_together(prefills, 8), tail)
    difference = max(_rms(wanted[place], scores) for place, scores in found)
    return difference, max(LEAST, 16 * torch.finfo(computed_in(model)).eps, NOISE * noise), runner


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
