"""The cold start: supervised learning on trajectories, through TRL's `SFTTrainer`.

TRL's own data path renders messages anew; here a sample is a trajectory's exact token ids from its
root to the policy's last token, with its images, as the sampler held them, and the loss is on the
policy's tokens alone (every other label is -100). Only the collator is ours, and a weight on single
tokens: losses, optimisers, schedules, accumulation and checkpoints are the library's, by its own
keys. The same seed, samples and machine make the same weights.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.trajectory import Trajectory, validate

from ..models.checkpoint import WholeCheckpoints
from ..models.lora import lora_config, only
from ..recipe.schema import Part

IGNORED = -100
"""The label of a token without loss, as torch's cross-entropy has it."""

Picture = Callable[[str], Image.Image]
"""Gives an image by its content hash."""


@dataclass(frozen=True)
class Sample:
    """One trajectory as it is trained on.

    Attributes:
        ids: all tokens, image placeholders expanded.
        mask: 1 on those that the policy wrote, 0 on all others.
        pictures: content hashes of the images, in the order of their placeholders.
        image_token: the id of a placeholder.
    """

    ids: tuple[int, ...]
    mask: tuple[int, ...]
    pictures: tuple[str, ...]
    image_token: int


def sample_of(trajectory: Trajectory) -> Sample:
    """The sample of a trajectory, up to the policy's last token.

    Raises:
        InvariantError: the trajectory must not be trained on.
        UserError: it was recorded without tokens.
    """
    if trajectory.kind == "text":
        raise UserError(
            f"the trajectory of {trajectory.case_id} holds no tokens; "
            "fix: play it as demonstrations of the model that learns from it"
        )
    validate(trajectory)
    last = max(i for i, node in enumerate(trajectory.nodes) if node.role == "assistant")
    branch = trajectory.branch(last)
    return Sample(
        ids=tuple(token for node in branch for token in node.token_ids),
        mask=tuple(value for node in branch for value in node.loss_mask),
        pictures=tuple(use.sha256 for node in branch for use in node.images),
        image_token=trajectory.vision_token_ids[0],
    )


class Collator:
    """Makes a batch of samples: what a model's `forward` takes, and its `labels`.

    Shorter samples are padded on the right, without attention and without loss.

    Args:
        model: says by its signature which token types it wants.
        processor: its image processor encodes the images of all samples together.
        picture: gives their images.
    """

    def __init__(self, model: Any, processor: Any, picture: Picture) -> None:
        accepted = inspect.signature(model.forward).parameters
        names = ("mm_token_type_ids", "token_type_ids")
        self._types = next((name for name in names if name in accepted), None)
        self._processor = processor
        self._picture = picture
        pad = processor.tokenizer.pad_token_id
        self._pad = int(processor.tokenizer.eos_token_id if pad is None else pad)

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Tensors of (samples, tokens of the longest); images as the processor encodes them."""
        ids = _padded([s.ids for s in samples], self._pad)
        held = _padded([(1,) * len(s.ids) for s in samples], 0)
        wrote = _padded([s.mask for s in samples], 0)
        batch: dict[str, torch.Tensor] = {
            "input_ids": ids,
            "attention_mask": held,
            "labels": ids.masked_fill(wrote == 0, IGNORED),
        }
        images = [self._picture(name) for sample in samples for name in sample.pictures]
        if images:
            batch |= self._processor.image_processor(images=images, return_tensors="pt")
        if self._types is not None:
            batch[self._types] = (ids == samples[0].image_token).long() * held
        return batch


def _padded(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *(fill,) * (width - len(row))] for row in rows])


class Imitator(WholeCheckpoints, SFTTrainer):
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

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
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
    model: Any,
    processor: Any,
    trajectories: Sequence[Trajectory],
    picture: Picture,
    settings: Mapping[str, Any],
    *,
    seed: int,
    folder: Path | None = None,
    parts: Sequence[Part] = ("language",),
    lora: Mapping[str, Any] | None = None,
    token_weights: Mapping[int, float] | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Any:
    """Train `model` to write what the trajectories' policy wrote; returns the model that learned.

    Args:
        trajectories: demonstrations in the model's tokens (or what it sampled itself).
        picture: gives the images that they show.
        settings: keys of `trl.SFTConfig`.
        seed: of the order of samples and of dropout.
        folder: where checkpoints go, if `settings` ask for any, and from where it goes on; None:
            nowhere.
        parts: of the model that learn.
        lora: keys of `peft.LoraConfig`: an adapter learns, and is merged at the end.
        token_weights: factor on the loss of a token, by its id; 1 where none is given.
        on_step: receives the step and what TRL logs of it, `loss` among it.

    Raises:
        InvariantError, UserError: as `sample_of`; no trajectories.
    """
    from datasets import Dataset

    samples = [sample_of(trajectory) for trajectory in trajectories]
    if not samples:
        raise UserError("there is nothing to imitate; fix: choose cases for the demonstrations")
    collate = Collator(model, processor, picture)
    learning = [(weight, weight.requires_grad) for weight in model.parameters()]
    was_training = model.training
    if lora is None:
        only(model, parts)
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(TemporaryDirectory()))
        trainer = Imitator(
            model=model,
            args=sft_config(settings, seed, place),
            train_dataset=Dataset.from_dict({"sample": list(range(len(samples)))}),
            data_collator=lambda rows: collate([samples[row["sample"]] for row in rows]),
            processing_class=processor,
            peft_config=None if lora is None else lora_config(model, lora, parts),
            token_weights=token_weights or {},
        )
        trainer.remove_callback(PrinterCallback)
        if on_step is not None:
            trainer.add_callback(_Told(on_step))
        last = get_last_checkpoint(str(place)) if place.is_dir() else None
        trainer.train(resume_from_checkpoint=last)
    learned = trainer.accelerator.unwrap_model(trainer.model)
    if lora is not None:
        learned = learned.merge_and_unload()
    vars(learned).pop("forward", None)  # the head that TRL put over the model's own `forward`
    for weight, learns in learning:
        weight.requires_grad_(learns)
    return learned.train(was_training)


def sft_config(settings: Mapping[str, Any], seed: int, folder: Path) -> SFTConfig:
    """`[sft]` on top of what medgym sets; see `recipe` for what a recipe may not set.

    Raises:
        UserError: TRL refuses a value.
    """
    # The newest transformers warns of a name that the oldest one supported still needs.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    on_gpu = torch.cuda.is_available()
    ours: dict[str, Any] = {
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "steps" if "save_steps" in settings else "no",
        "save_total_limit": 1,
        "dataloader_num_workers": 0,
    }
    try:
        return SFTConfig(
            **(ours | dict(settings)),
            output_dir=str(folder),
            seed=seed % 2**32,  # numpy takes no more
            data_seed=seed % 2**32,
            max_length=None,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"TRL refuses [sft]: {reason_of(error)}; fix: correct it") from error


class _Told(TrainerCallback):
    """Passes on what is logged of each step."""

    def __init__(self, on_step: Callable[[int, dict[str, float]], None]) -> None:
        self._on_step = on_step

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            self._on_step(int(state.global_step), {k: float(v) for k, v in logs.items()})
