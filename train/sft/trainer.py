"""Supervised learning on trajectories, through TRL's `SFTTrainer`.

Only the collator is ours, and a weight on single tokens: losses, optimisers, schedules,
accumulation and checkpoints are the library's, by its own keys. The same seed, samples and machine
make the same weights.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTTrainer

from medgym.errors import RunError, UserError
from medgym.failures import reason_of
from medgym.trajectory import Trajectory

from ..models.checkpoint import WholeCheckpoints
from ..models.lora import lora_config, only
from ..models.merging import merged, merged_into
from ..models.precision import LearnsInFloat32, cast_weights, dtypes_of
from ..recipe.schema import ModelPart
from ..recipe.settings import Keys
from ..recipe.steps import SaidSteps
from .config import sft_config
from .samples import Collator, GetImage, sample_of

if TYPE_CHECKING:
    from transformers import (
        PreTrainedModel,
        ProcessorMixin,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )


class Imitator(LearnsInFloat32, WholeCheckpoints, SFTTrainer):
    """`SFTTrainer` with a factor on the loss of single tokens.

    Args:
        token_weights: factors by token id; 1 where none is given.
        kwargs: TRL's.
    """

    def __init__(self, *, token_weights: Mapping[int, float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._scale: torch.Tensor | None = None
        if token_weights:
            learner: Any = self.model
            size = learner.get_output_embeddings().weight.shape[0]
            self._scale = torch.ones(size, device=self.args.device)
            for token, factor in token_weights.items():
                self._scale[token] = factor

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
                "[sft] learning_rate, or max_grad_norm"
            )
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """TRL's loss; with factors, each token's times its own, over the same number of tokens."""
        if self._scale is None or return_outputs:
            plain: Any = super()
            return plain.compute_loss(model, inputs, return_outputs, num_items_in_batch)
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        factors = self._scale[inputs["labels"][:, 1:].clamp(min=0)]
        count = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
        return -(outputs.log_probs * factors).sum() / count


def supervised(
    model: "PreTrainedModel",
    processor: "ProcessorMixin",
    trajectories: Sequence[Trajectory],
    get_image: GetImage,
    settings: Keys,
    *,
    seed: int,
    folder: Path | None = None,
    parts: Sequence[ModelPart] = ("language",),
    lora: Keys | None = None,
    token_weights: Mapping[int, float] | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    what: str = "",
    unquantized: "Callable[[], PreTrainedModel] | None" = None,
) -> "PreTrainedModel":
    """Train `model` to write what the trajectories' policy wrote; returns the model that learned.

    Args:
        trajectories: demonstrations in the model's tokens (or what it sampled itself).
        get_image: gives the images that they show.
        settings: keys of `trl.SFTConfig`.
        seed: of the order of samples and of dropout.
        folder: where checkpoints go, if `settings` ask for any, and from where it resumes; None:
            nowhere.
        parts: of the model that learn.
        lora: keys of `peft.LoraConfig`: an adapter learns, and is merged at the end.
        token_weights: factor on the loss of a token, by its id; 1 where none is given.
        on_step: receives the step and what TRL logs of it, `loss` among it.
        what: is trained: the number of steps is said under that name; empty: it is not said.
        unquantized: loads the same model in full precision, where `model` is quantized: the adapter
            is merged into that one.

    Raises:
        InvariantError, UserError: as `sample_of`; no trajectories.
    """
    from datasets import Dataset

    samples = [sample_of(trajectory) for trajectory in trajectories]
    if not samples:
        raise UserError("there is nothing to imitate; fix: choose cases for the demonstrations")
    collate = Collator(model, processor, get_image)
    learning = [(weight, weight.requires_grad) for weight in model.parameters()]
    was_training, dtypes = model.training, dtypes_of(model)
    if lora is None:
        only(model, parts)
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(TemporaryDirectory()))
        try:
            trainer = Imitator(
                model=model,
                args=sft_config(settings, seed, place, model.device.type),
                train_dataset=Dataset.from_dict({"sample": list(range(len(samples)))}),
                data_collator=lambda rows: collate([samples[row["sample"]] for row in rows]),
                processing_class=processor,
                peft_config=None if lora is None else lora_config(model, lora, parts),
                token_weights=token_weights or {},
            )
        except (ValueError, RuntimeError, ImportError) as error:
            raise UserError(
                f"TRL refuses the recipe: {reason_of(error)}; fix: correct [sft] or [sft.lora]"
            ) from error
        trainer.remove_callback(PrinterCallback)
        if on_step is not None:
            trainer.add_callback(_StepLog(on_step))
        if what:
            trainer.add_callback(SaidSteps(what, "samples", len(samples), "demonstrations"))
        last = get_last_checkpoint(str(place)) if place.is_dir() else None
        trainer.train(resume_from_checkpoint=last)
    learned = trainer.accelerator.unwrap_model(trainer.model)
    if lora is None:
        cast_weights(learned, dtypes)
    elif unquantized is not None:
        learned = merged_into(unquantized(), learned)
    else:
        learned = merged(learned)
    vars(learned).pop("forward", None)  # the head that TRL put over the model's own `forward`
    for weight, learns in learning:
        weight.requires_grad_(learns)
    learned.train(was_training)
    return cast("PreTrainedModel", learned)


class _StepLog(TrainerCallback):
    """Hands on what TRL logs of each step."""

    def __init__(self, on_step: Callable[[int, dict[str, float]], None]) -> None:
        self._on_step = on_step

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        if logs and "loss" in logs:
            self._on_step(int(state.global_step), {k: float(v) for k, v in logs.items()})
