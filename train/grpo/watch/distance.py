"""How far the sampler is from the trainer, judged on every step.

Both give log-probabilities to the tokens that were sampled: the sampler when it drew them, the
trainer in the very pass whose loss is taken. They are held against each other there, so that
whatever differs between the two shows: weights, images, their order, masks, precision, dropout.
It costs no forward pass. The judgement is of all processes together, before the optimiser's step,
so that all of them stop at once and no weight is changed by what was found wrong.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from medgym.errors import RunError
from medgym.metrics.sight import FAR, MOST, NEAR

if TYPE_CHECKING:
    from accelerate import Accelerator

LOG = logging.getLogger("medgym")

PATIENCE = 3
"""Steps in a row that may be beyond a limit where a step may be so by itself: where older weights
sampled, and where importance sampling ignores sequences."""

ROUNDING = 0.05
"""Nats by which the trainer may find a single token likelier than the sampler of the same
arithmetic does. A mean over a step would hide one row of many. The other way round a token may
differ by more: the trainer gives vision tokens a share, which the sampler never draws."""

HALF = 0.5
"""Share of sequences without any weight from which on a step teaches too little of what it cost."""

Closeness = Literal["same", "fresh", "old"]
"""What sampled a step: `same`, the arithmetic of the trainer in this process, in float32 and
without dropout, which differs by rounding only; `fresh`, the weights in training in another
precision or engine; `old`, weights of an earlier step, or ones that nobody keeps in step."""


class Apart(RunError):
    """The sampler is not the model in training: what it sampled cannot train."""


@dataclass(frozen=True)
class Distance:
    """Of the sampled tokens of one step, in all processes.

    Attributes:
        mean: Schulman's k3 estimate of KL(sampler, trainer), nats a token.
        greatest: the greatest difference of two log-probabilities, in nats.
        likelier: by how much the trainer found a token likelier than the sampler at most, in nats.
        zero_weight: the share of sequences that importance sampling gives no weight at all; None
            where samples are not corrected for.
    """

    mean: float
    greatest: float
    likelier: float
    zero_weight: float | None = None

    def figures(self) -> dict[str, float]:
        """What training logs."""
        named = {"sampler/distance": self.mean, "sampler/greatest": self.greatest}
        return named | (
            {} if self.zero_weight is None else {"sampler/zero_weight": self.zero_weight}
        )


class DistanceMeter:
    """Collects the distance over the passes of one step.

    Args:
        accelerator: of the trainer; it brings all processes together.
    """

    def __init__(self, accelerator: "Accelerator") -> None:
        self._accelerator = accelerator
        self._parts: list[torch.Tensor] = []

    def add(self, inputs: Mapping[str, Any], trainers: torch.Tensor) -> None:
        """Take one pass.

        Args:
            inputs: what TRL took the loss of; it holds the sampler's log-probabilities.
            trainers: the trainer's.
        """
        sampled = (inputs["completion_mask"] * inputs["tool_mask"]).bool()
        ratio = (trainers.detach().float() - inputs["sampling_per_token_logps"].float())[sampled]
        bounded = ratio.clamp(-MOST, MOST)
        rows = sampled.any(dim=1)
        ignored = ratio.new_tensor(-1.0)
        if "importance_sampling_ratio" in inputs:  # one weight a row, or one a token
            weights = (inputs["importance_sampling_ratio"] * sampled).sum(dim=1)
            ignored = (weights[rows] == 0).sum().float()
        none = ratio.new_zeros(1)
        self._parts.append(
            torch.stack(
                [
                    (torch.expm1(bounded) - bounded).sum(),
                    sampled.sum().float(),
                    rows.sum().float(),
                    ignored,
                    torch.cat([none, ratio.abs()]).max(),
                    torch.cat([none, ratio]).max(),
                ]
            )
        )

    def take(self) -> Distance:
        """The distance of what was added since the last call, the same in every process."""
        parts = self._accelerator.gather(torch.stack(self._parts)).double()
        self._parts = []
        total, tokens, rows, ignored = parts[:, :4].sum(dim=0).tolist()
        greatest, likelier = parts[:, 4:].max(dim=0).values.tolist()
        return Distance(
            mean=total / max(tokens, 1.0),
            greatest=greatest,
            likelier=likelier,
            zero_weight=ignored / rows if ignored >= 0 and rows > 0 else None,
        )


class DistanceCheck:
    """Stops a run whose sampler is not the model in training.

    Args:
        warns: whether this process says what is near a limit.
    """

    def __init__(self, *, warns: bool = True) -> None:
        self._warns = warns
        self._far = 0
        self._unheard = 0
        self._said: set[str] = set()

    def see(self, distance: Distance, step: int, closeness: Closeness) -> None:
        """Take the distance of a step.

        Raises:
            Apart: it is beyond what may be, at once or too often.
        """
        limit = NEAR if closeness == "same" else FAR
        token = ROUNDING if closeness == "same" else float("inf")
        # Written so that what is no number is beyond every limit.
        is_near = distance.mean <= limit and distance.likelier <= token
        self._far = 0 if is_near else self._far + 1
        self._unheard = self._unheard + 1 if (distance.zero_weight or 0.0) > HALF else 0
        if self._far >= (PATIENCE if closeness == "old" else 1):
            raise Apart(
                f"sampler and trainer are {distance.mean:.2g} nats a token apart in step {step}, "
                f"the farthest token {distance.greatest:.2g} ({_limits(limit, token)}); fix: see "
                "that both have the same weights, images and precision and no dropout, then "
                "resume from the last checkpoint with --resume"
            )
        if self._unheard >= PATIENCE:
            raise Apart(
                f"importance sampling ignored {distance.zero_weight:.0%} of the sequences in step "
                f"{step}, and more than half {PATIENCE} times in a row; fix: set [grpo] "
                'vllm_importance_sampling_mode = "token_truncate", or publish more often'
            )
        self._warn(
            "distance",
            distance.mean > NEAR,
            f"sampler and trainer are {distance.mean:.2g} nats a token apart in step {step}; "
            f"above {NEAR:g} they should be looked at: compare their weights, images and precision",
        )
        self._warn(
            "weight",
            self._unheard > 0,
            f"importance sampling ignores {distance.zero_weight or 0.0:.0%} of the sequences in "
            f'step {step}; [grpo] vllm_importance_sampling_mode = "token_truncate" keeps them',
        )

    def _warn(self, what: str, holds: bool, text: str) -> None:
        """Say something once for as long as it holds."""
        if not holds:
            self._said.discard(what)
        elif what not in self._said:
            self._said.add(what)
            if self._warns:
                LOG.warning(text)


def _limits(mean: float, token: float) -> str:
    said = f"at most {mean:g}"
    return said if token == float("inf") else f"{said} and {token:g} where both compute alike"


def same_arithmetic(sampler: torch.nn.Module, trainer: torch.nn.Module) -> bool:
    """Whether two models in this process may differ by rounding only: float32, and no dropout."""
    exact = all(
        w.dtype == torch.float32 for model in (sampler, trainer) for w in model.parameters()
    )
    return exact and not any(map(_drops, trainer.modules()))


def _drops(module: torch.nn.Module) -> bool:
    if isinstance(module, torch.nn.Dropout):
        return module.p > 0
    return float(getattr(module, "attention_dropout", 0.0) or 0.0) > 0
