"""Replies by transformers' own `generate`, for models whose state cannot be held between turns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from medgym.policy import Sampling

from ..rendering import Renderer
from .decoder import Row
from .inputs import base_of, model_inputs, pad_id
from .sampling import Chance, draw


@torch.no_grad()
def answer_anew(model: Any, renderer: Renderer, rows: Sequence[Row]) -> None:
    """Read the rows' whole prompts and draw their replies to their end."""
    inputs = model_inputs(model, renderer, [row.prompt for row in rows])
    chosen = _Draw([row.sampling for row in rows], renderer.vision_token_ids)
    with _own_settings(model):
        output = model.generate(
            **inputs,
            max_new_tokens=max(row.sampling.max_tokens for row in rows),
            do_sample=False,  # `chosen` leaves one token a row to choose from
            eos_token_id=sorted(renderer.stop_token_ids),
            pad_token_id=pad_id(renderer),
            logits_processor=LogitsProcessorList([chosen]),
        )
    tokens = output[:, inputs["input_ids"].shape[1] :].tolist()
    values = torch.stack(chosen.logprobs, dim=1).tolist()
    for row, ids, logprobs in zip(rows, tokens, values, strict=True):
        ends = (place + 1 for place, token in enumerate(ids) if token in renderer.stop_token_ids)
        end = min(next(ends, len(ids)), row.sampling.max_tokens)
        row.ids, row.logprobs, row.over = ids[:end], logprobs[:end], True


class _Draw(LogitsProcessor):
    """`draw`, which leaves `generate` one token a row to choose from."""

    def __init__(self, samplings: Sequence[Sampling], banned: Sequence[int]) -> None:
        steps = max(sampling.max_tokens for sampling in samplings)
        self._chances = [Chance(sampling) for sampling in samplings]
        for chance in self._chances:  # rows that are over go on being drawn for
            chance.uniform += [0.0] * (steps - len(chance.uniform))
        self._banned = torch.tensor(list(banned))
        self.logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        steps = [len(self.logprobs)] * len(self._chances)
        chosen, logprobs = draw(scores, self._chances, steps, self._banned.to(scores.device))
        self.logprobs.append(logprobs[:, 0])
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


@contextmanager
def _own_settings(model: Any) -> Iterator[None]:
    """The model without generation settings of its own: a checkpoint's repetition penalty or banned
    words would change the distribution behind the recorded log-probabilities' back."""
    held = [(m, m.generation_config) for m in {id(m): m for m in (model, base_of(model))}.values()]
    for holder, _ in held:
        holder.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for holder, config in held:
            holder.generation_config = config
