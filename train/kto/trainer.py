"""`KTOTrainer` of TRL on whole episodes.

Three things are ours: the collator, the figures of what watches the policy, and that the rows by
which TRL estimates the divergence from the reference have images of their own. TRL would show them
those of the batch, in the batch's order, which is another one where tools have shown something.
"""

from collections.abc import Mapping
from typing import Any

import torch
from datasets import Dataset
from trl import KTOTrainer

from medgym.errors import RunError

from ..models.checkpoint import WholeCheckpoints
from ..models.precision import LearnsInFloat32
from .batch import MISMATCHED


class OutcomeTrainer(LearnsInFloat32, WholeCheckpoints, KTOTrainer):
    """`KTOTrainer` on rows that are ready."""

    chosen_change: float | None = None
    less = "lower [kto] learning_rate, give undesirable_weight less"

    _images: dict[str, torch.Tensor]

    @property
    def learner(self) -> Any:
        """The model in training."""
        return self.model

    def note(self, figures: Mapping[str, float]) -> None:
        """Log figures with the next step, those of all processes already."""
        for name, value in figures.items():
            self._metrics["train"][name].append(value)

    def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
        """The rows as they are: TRL would render and tokenise them again."""
        return dataset

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        inputs = dict(inputs)
        self._images = inputs.pop(MISMATCHED, {})
        plain: Any = super()
        return plain._compute_loss(model, inputs, return_outputs)

    def _compute_kl_logps(self, model: Any, batch: dict[str, Any]) -> torch.Tensor | None:
        plain: Any = super()
        found: torch.Tensor | None = plain._compute_kl_logps(model, batch | self._images)
        return found

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One pass and its gradients.

        Raises:
            RunError: the loss is not a number; transformers would log the mean of the others.
        """
        plain: Any = super()
        loss: torch.Tensor = plain.training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss of step {self.state.global_step + 1} is {float(loss)}; fix: a lower "
                "[kto] learning_rate, or max_grad_norm"
            )
        return loss
