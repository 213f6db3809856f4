"""Replies by transformers' own `generate`, for models whose state cannot be kept between turns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from medgym.policy import Sampling

from ..rendering import Renderer
from .decoder import Request
from .inputs import base_of, model_inputs, pad_id
from .sampling import RequestRng, sample_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.no_grad()
def generate_replies(
    model: "PreTrainedModel", renderer: Renderer, requests: Sequence[Request]
) -> None:
    """Prefill the requests' whole prompts and sample their replies to their end."""
    inputs = model_inputs(model, renderer, [request.prompt for request in requests])
    sampler = _Sampler([request.sampling for request in requests], renderer.vision_token_ids)
    with _own_settings(model):
        output = model.generate(  # type: ignore[operator]
            **inputs,
            max_new_tokens=max(request.sampling.max_tokens for request in requests),
            do_sample=False,  # the sampler leaves one token a row to choose from
            eos_token_id=sorted(renderer.stop_token_ids),
            pad_token_id=pad_id(renderer),
            logits_processor=LogitsProcessorList([sampler]),
        )
    tokens = output[:, inputs["input_ids"].shape[1] :].tolist()
    values = torch.stack(sampler.logprobs, dim=1).tolist()
    for request, ids, logprobs in zip(requests, tokens, values, strict=True):
        ends = (place + 1 for place, token in enumerate(ids) if token in renderer.stop_token_ids)
        end = min(next(ends, len(ids)), request.sampling.max_tokens)
        request.ids, request.logprobs, request.over = ids[:end], logprobs[:end], True


class _Sampler(LogitsProcessor):
    """`sample_tokens`, which leaves `generate` one token a row to choose from."""

    def __init__(self, samplings: Sequence[Sampling], banned: Sequence[int]) -> None:
        steps = max(sampling.max_tokens for sampling in samplings)
        self._rngs = [RequestRng(sampling) for sampling in samplings]
        for rng in self._rngs:  # `generate` also samples for rows that are over
            rng.uniform += [0.0] * (steps - len(rng.uniform))
        self._banned = torch.tensor(list(banned))
        self.logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        steps = [len(self.logprobs)] * len(self._rngs)
        chosen, logprobs = sample_tokens(scores, self._rngs, steps, self._banned.to(scores.device))
        self.logprobs.append(logprobs[:, 0])
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


@contextmanager
def _own_settings(model: "PreTrainedModel") -> Iterator[None]:
    """The model without generation settings of its own: a checkpoint's repetition penalty or banned
    words would change the distribution, and the recorded log-probabilities would be wrong."""
    held = [(m, m.generation_config) for m in {id(m): m for m in (model, base_of(model))}.values()]
    for holder, _ in held:
        holder.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for holder, config in held:
            holder.generation_config = config
