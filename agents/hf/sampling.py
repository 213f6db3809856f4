"""Sampling: one token for each row of scores, with the log-probability that it is recorded with.

A token is sampled by inverse transform of one uniform number in float64, over the tempered
distribution without the banned tokens; greedily where the temperature is 0. So it depends on its
own scores and its own seed, and on nothing else in the batch.
"""

from collections.abc import Sequence

import numpy as np
import torch

from medgym.policy import Sampling


class RequestRng:
    """A request's random generator: its sampling, and one uniform number for each of its tokens."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        numbers = np.random.default_rng(sampling.seed).random(sampling.max_tokens)
        self.uniform: list[float] = numbers.tolist()


def sample_tokens(
    scores: torch.Tensor, rngs: Sequence[RequestRng], steps: Sequence[int], banned: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample a token for each row.

    Args:
        scores: (rows, vocabulary) raw scores of the model.
        rngs: the random generator of each row.
        steps: which of the reply's tokens is sampled, for each row.
        banned: ids of tokens that cannot be sampled.

    Returns:
        Tokens and their log-probabilities in float64, (rows, 1) each.
    """
    device = scores.device
    scores = scores.to(torch.float64, copy=True).index_fill_(1, banned, -torch.inf)
    heats = [rng.sampling.temperature for rng in rngs]
    tempered = scores
    if any(heat not in (0.0, 1.0) for heat in heats):
        tempered = scores / torch.tensor([[heat or 1.0] for heat in heats], device=device)
    logprobs = torch.log_softmax(tempered, dim=-1)
    if any(rng.sampling.top_p < 1 for rng in rngs):
        top_p = torch.tensor([[rng.sampling.top_p] for rng in rngs], device=device)
        logprobs = _nucleus(logprobs, top_p)
    total = logprobs.exp().cumsum(dim=-1)
    uniform = [[rng.uniform[step]] for rng, step in zip(rngs, steps, strict=True)]
    target = torch.tensor(uniform, dtype=torch.float64, device=device) * total[:, -1:]
    chosen = torch.searchsorted(total, target, right=True)
    if 0.0 in heats:
        greedy = torch.tensor([[heat == 0] for heat in heats], device=device)
        chosen = torch.where(greedy, scores.argmax(dim=-1, keepdim=True), chosen)
    return chosen, logprobs.gather(1, chosen)


def _nucleus(logprobs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    ordered, order = logprobs.sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(dim=-1) - ordered.exp()
    ordered = torch.where(before < top_p, ordered, -torch.inf)
    kept = torch.empty_like(logprobs).scatter_(1, order, ordered)
    return torch.log_softmax(kept, dim=-1)
