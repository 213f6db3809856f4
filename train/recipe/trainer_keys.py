"""The keys of `transformers.TrainingArguments`, which every configuration of TRL has.

They are sorted here once for `[sft]` and `[grpo]`; what differs stands with the algorithm.
"""

import os
from collections.abc import Mapping

from medgym.errors import UserError

JUDGING = "[judge]"
FOLDER = "the run's folder"
SEED = "the recipe's seed"
RESUME = "medgym train --resume"
TORCHRUN = "torchrun"
EVERY_STEP = "what metrics.jsonl holds: a line for every step"

PASSED = frozenset(
    (
        # How long, by what batches.
        "max_steps", "num_train_epochs", "per_device_train_batch_size",
        "gradient_accumulation_steps",
        # The optimiser and its schedule.
        "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim",
        "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
        # Numbers and memory.
        "bf16", "tf32", "gradient_checkpointing", "gradient_checkpointing_kwargs",
        "torch_empty_cache_steps", "full_determinism",
        # What is logged, and where to.
        "report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id",
        "trackio_static_space_id", "log_level", "log_level_replica", "log_on_each_node",
        "logging_nan_inf_filter", "skip_memory_metrics", "debug",
        # Checkpoints.
        "save_steps", "save_total_limit",
        # Several processes.
        "ddp_backend", "ddp_timeout", "ddp_bucket_cap_mb", "ddp_broadcast_buffers",
        "ddp_find_unused_parameters", "ddp_static_graph",
    )
)  # fmt: skip
"""Keys that are passed on: their effect is the Trainer's own."""

OURS = {
    "output_dir": FOLDER,
    "seed": SEED,
    "data_seed": SEED,
    "resume_from_checkpoint": RESUME,
    "local_rank": TORCHRUN,
    "use_cpu": "[model] device",
    "trust_remote_code": "[model] trust_remote_code",
    "model_init_kwargs": "[model]",
    "disable_tqdm": "medgym's own progress bar",
    **dict.fromkeys(("logging_strategy", "logging_steps", "logging_first_step"), EVERY_STEP),
    **dict.fromkeys(
        (
            "do_eval", "eval_strategy", "eval_steps", "eval_delay", "eval_on_start",
            "per_device_eval_batch_size", "eval_accumulation_steps", "load_best_model_at_end",
            "metric_for_best_model", "greater_is_better",
            "restore_callback_states_from_checkpoint",
        ),
        JUDGING,
    ),
}  # fmt: skip
"""Keys that medgym sets, and from what."""

_NO_LOSS_OF_EVAL = "judging counts right answers, and no tensors of it are kept"
_WORKERS = "samples are made in the training process, which holds their images"
_HUB = "a run keeps what it learns in its own folder, from which you may upload it"
_COMPILED = "a compiled model rounds otherwise than the sampler that shares its weights"
_SHARDED = (
    "a model that is spread over processes cannot sample in each of them: they would wait for "
    "one another for ever; several GPUs each hold a whole model, under torchrun"
)
_ALIAS = "it is a second name of {0}, which older versions of transformers know too"

REFUSED = {
    # Judging is not the Trainer's.
    **dict.fromkeys(
        (
            "prediction_loss_only", "eval_do_concat_batches", "eval_use_gather_object",
            "include_for_metrics", "batch_eval_metrics", "bf16_full_eval", "fp16_full_eval",
            "do_predict",
        ),
        _NO_LOSS_OF_EVAL,
    ),
    "do_train": "nothing reads it",
    # Data.
    **dict.fromkeys(
        (
            "dataloader_num_workers", "dataloader_persistent_workers",
            "dataloader_prefetch_factor", "dataloader_multiprocessing_context",
            "dataloader_in_order", "dataloader_pin_memory",
        ),
        _WORKERS,
    ),
    "remove_unused_columns": "a row of the data names a case or a sample and has no other column",
    "label_names": "medgym makes the labels",
    "length_column_name": "the data has no column of lengths",
    "auto_find_batch_size": "batches would depend on the memory that happens to be free",
    "accelerator_config": "it changes how batches are dealt to processes, on which groups rely",
    "ignore_data_skip": "a resumed run would train on other cases than one that ran through",
    # The model.
    "fp16": "bf16 has the range of float32; fp16 needs scaled losses, which are not tested here",
    "activation_checkpointing": _ALIAS.format("gradient_checkpointing"),
    "activation_checkpointing_kwargs": _ALIAS.format("gradient_checkpointing_kwargs"),
    **dict.fromkeys(("torch_compile", "torch_compile_backend", "torch_compile_mode"), _COMPILED),
    **dict.fromkeys(
        ("use_liger_kernel", "liger_kernel_config"),
        "TRL is about to drop it, and its kernels are not tested here",
    ),
    "use_cache": "training reads whole sequences at once; the sampler always has a cache",
    **dict.fromkeys(
        ("optim_args", "optim_target_modules"),
        "only optimisers of further packages read it, and none of them is tested here",
    ),
    # Processes.
    **dict.fromkeys(("fsdp", "fsdp_config", "deepspeed", "parallelism_config"), _SHARDED),
    # Checkpoints.
    "save_only_model": "a run could not be resumed without its optimiser",
    "save_on_each_node": "a run has one folder, which all nodes share",
    "enable_jit_checkpoint": (
        "a checkpoint between two of save_steps would lack the trajectories that led to it"
    ),
    **dict.fromkeys(
        (
            "push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy",
            "hub_always_push", "hub_revision",
        ),
        _HUB,
    ),
}  # fmt: skip
"""Keys that a recipe may not have, and why."""

NO_OTHER = "TRL takes no other"
"""Why a key has some values alone, of those that TRL itself would refuse hours later."""

SAMPLING = dict.fromkeys(
    ("top_p", "top_k", "min_p", "repetition_penalty"),
    "samples would be of another distribution than the one that is trained",
)
"""Ways to sample that have no place in training, and why."""


def refuse_sampling(rollout: object, where: str) -> None:
    """Refuse by name what `[rollout]` might be expected to have.

    Raises:
        UserError: there is such a key.
    """
    for key in rollout if isinstance(rollout, Mapping) else ():
        if key in SAMPLING:
            raise UserError(f"{where}: rollout.{key} is refused: {SAMPLING[key]}; fix: remove it")


def refuse_sharding() -> None:
    """Refuse what `accelerate launch` may ask for past the recipe.

    Raises:
        UserError: it asks for FSDP or DeepSpeed.
    """
    for name in ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"):
        if os.environ.get(name, "").lower() in ("1", "true", "yes"):
            raise UserError(f"{name} is set, but {_SHARDED}; fix: start with torchrun")
