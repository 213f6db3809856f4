"""For each key that is passed on: a value, and what else is set, with which it has its effect.

The tests of keys run each case with the key and without it. `docs/keys.md` is made of these tables.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A value of a key, keys beside it in both runs, the kind of run that it needs, and keys that
    are set with it alone."""

    value: Any
    beside: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    too: dict[str, Any] = field(default_factory=dict)


TWICE = {"num_iterations": 2}
ENTROPY = {"entropy_coef": 0.1, "use_adaptive_entropy": True}
SYNC = {"beta": 0.5, "sync_ref_model": True}
LISTED = {"target_modules": ["q_proj", "v_proj"]}

ARRIVES: dict[str, Any] = {
    "report_to": ["mlflow"],
    "run_name": "a",
    "project": "a",
    "trackio_space_id": "a/b",
    "trackio_bucket_id": "a/b",
    "trackio_static_space_id": "a/b",
    "log_level": "error",
    "log_level_replica": "error",
    "log_on_each_node": False,
    "logging_nan_inf_filter": False,
    "debug": ["underflow_overflow"],
    "full_determinism": True,
    "skip_memory_metrics": False,
    "torch_empty_cache_steps": 3,
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "ddp_timeout": 60,
    "ddp_bucket_cap_mb": 7,
    "ddp_broadcast_buffers": True,
    "ddp_find_unused_parameters": False,
    "ddp_static_graph": True,
}
"""Keys of the Trainer whose effect is not in the numbers of a small run: they reach it."""

ENDS: dict[str, tuple[Any, str]] = {
    "tf32": (True, "Ampere"),
    "ddp_backend": ("gloo", "process group"),
    "router_aux_loss_coef": (0.1, "not a Mixture-of-Experts model"),
}
"""Keys that this machine or the tiny model cannot have: the run ends with the library's reason."""

TRAINER: dict[str, Case] = {
    "max_steps": Case(1),
    "num_train_epochs": Case(2, {"max_steps": -1}),
    "per_device_train_batch_size": Case(16),
    "gradient_accumulation_steps": Case(2),
    "learning_rate": Case(1e-3),
    "lr_scheduler_type": Case("constant"),
    "lr_scheduler_kwargs": Case({"num_cycles": 2}, {"lr_scheduler_type": "cosine_with_restarts"}),
    "warmup_steps": Case(1),
    "optim": Case("sgd"),
    "weight_decay": Case(0.5),
    "adam_beta1": Case(0.1),
    "adam_beta2": Case(0.5),
    "adam_epsilon": Case(0.1),
    "max_grad_norm": Case(1e-4, {"optim": "sgd"}),
    "bf16": Case(True),
}
"""Keys of the Trainer with which other weights are learned, or others in number."""

SFT: dict[str, Case] = {
    "loss_type": Case("dft"),
    "label_smoothing_factor": Case(0.3),
    "neftune_noise_alpha": Case(20.0),
    "dataloader_drop_last": Case(
        True, {"max_steps": -1, "num_train_epochs": 1, "per_device_train_batch_size": 3}
    ),
    "train_sampling_strategy": Case("sequential"),
}
"""Keys of `trl.SFTConfig` with which other weights are learned."""

SFT_ARRIVES: dict[str, Any] = {"average_tokens_across_devices": False}
"""A key whose effect takes several processes."""

SFT_LOGS: dict[str, Case] = {
    "include_num_input_tokens_seen": Case("all"),
}

LORA: dict[str, Case] = {
    "r": Case(4),
    "lora_alpha": Case(32),
    "lora_dropout": Case(0.5),
    "target_modules": Case(["q_proj"]),
    "exclude_modules": Case(["v_proj"], LISTED),
    "use_rslora": Case(True),
    "use_dora": Case(True),
    "init_lora_weights": Case("gaussian"),
    "layers_to_transform": Case([0], LISTED),
    "layers_pattern": Case(
        "blocks", {"target_modules": ["qkv", "q_proj"], "layers_to_transform": [0]}
    ),
    "rank_pattern": Case({"q_proj": 4}),
    "alpha_pattern": Case({"q_proj": 64}),
}
"""Keys of `peft.LoraConfig` with which another adapter is learned."""

GRPO: dict[str, Case] = {
    "num_generations": Case(4),
    "generation_batch_size": Case(8),
    "steps_per_generation": Case(2),
    "num_iterations": Case(2),
    "scale_rewards": Case("none"),
    "multi_objective_aggregation": Case("normalize_then_sum"),
    "loss_type": Case("dr_grpo"),
    "epsilon": Case(1e-6, TWICE),
    "epsilon_high": Case(1e-6, TWICE),
    "delta": Case(1e-6, TWICE),
    "importance_sampling_level": Case("sequence", TWICE),
    "sapo_temperature_neg": Case(9.0, TWICE | {"loss_type": "sapo"}),
    "sapo_temperature_pos": Case(9.0, TWICE | {"loss_type": "sapo"}),
    "vespo_k_pos": Case(9.0, TWICE | {"loss_type": "vespo"}),
    "vespo_lambda_pos": Case(9.0, TWICE | {"loss_type": "vespo"}),
    "vespo_k_neg": Case(9.0, TWICE | {"loss_type": "vespo"}),
    "vespo_lambda_neg": Case(9.0, TWICE | {"loss_type": "vespo"}),
    "off_policy_mask_threshold": Case(1e-9, TWICE),
    "vllm_importance_sampling_correction": Case(False, {}, "engine"),
    "vllm_importance_sampling_mode": Case("token_truncate", {}, "engine"),
    "vllm_importance_sampling_clip_max": Case(1.0001, {}, "engine"),
    "vllm_importance_sampling_clip_min": Case(0.9999, {}, "engine"),
    "beta": Case(0.5),
    "use_bias_correction_kl": Case(False, TWICE | {"beta": 0.5}),
    "sync_ref_model": Case(True, {"beta": 0.5}, "whole", {"ref_model_sync_steps": 1}),
    "ref_model_mixup_alpha": Case(0.1, SYNC | {"ref_model_sync_steps": 1}, "whole"),
    "ref_model_sync_steps": Case(1, SYNC, "whole"),
    "top_entropy_quantile": Case(0.2),
    "entropy_coef": Case(0.1),
    "use_adaptive_entropy": Case(True, {"entropy_coef": 0.1}),
    "entropy_target": Case(100.0, ENTROPY),
    "disable_dropout": Case(True, {}, "dropout"),
}
"""Keys of `trl.GRPOConfig` with which other weights are learned."""

GRPO_LOGS: dict[str, Case] = {
    "entropy_coef_min": Case(0.2, ENTROPY),
    "entropy_coef_max": Case(0.05, ENTROPY | {"entropy_target": 100.0}),
    "entropy_coef_delta": Case(0.05, ENTROPY),
}
"""Keys of `trl.GRPOConfig` with which another figure is logged."""

GRPO_ARRIVES: dict[str, Case] = {
    "log_multimodal": Case(False, {"log_completions": True}),
    "num_completions_to_print": Case(3, {"log_completions": True}),
    "log_unique_prompts": Case(True, {"log_completions": True}),
}
"""Keys that matter where episodes are shown as tables: they reach TRL."""

MOVED = {"sync_ref_model": True}

DPO: dict[str, Case] = {
    "loss_type": Case("hinge"),
    "loss_weights": Case([1.0, 0.2], {"loss_type": ["sigmoid", "sft"]}),
    "beta": Case(0.5),
    "label_smoothing": Case(0.2, {"loss_type": "robust"}),
    "discopop_tau": Case(0.5, {"loss_type": "discopop"}),
    "ld_alpha": Case(0.1),
    "f_divergence_type": Case("forward_kl"),
    "f_alpha_divergence_coef": Case(0.9, {"f_divergence_type": "alpha_divergence"}),
    "use_weighting": Case(True),
    "train_sampling_strategy": Case("sequential"),
    "sync_ref_model": Case(True, {}, "whole", {"ref_model_sync_steps": 1}),
    "ref_model_mixup_alpha": Case(0.1, MOVED | {"ref_model_sync_steps": 1}, "whole"),
    "ref_model_sync_steps": Case(1, MOVED, "whole"),
    "disable_dropout": Case(False, {}, "dropout"),
}
"""Keys of `trl.DPOConfig` with which other weights are learned."""

DPO_ARRIVES: dict[str, Case] = {
    "precompute_ref_log_probs": Case(True),
    "precompute_ref_batch_size": Case(3, {"precompute_ref_log_probs": True}),
    "dataloader_drop_last": Case(True),
    "save_strategy": Case("no"),
    "save_steps": Case(7),
    "save_total_limit": Case(7),
}
"""Keys with which the same is learned in another way: they reach TRL."""

KTO: dict[str, Case] = {
    "loss_type": Case("apo_zero_unpaired"),
    "beta": Case(0.1),
    "desirable_weight": Case(3.0),
    "undesirable_weight": Case(3.0),
    "disable_dropout": Case(False),
}
"""Keys of `trl.KTOConfig` with which other weights are learned."""

FILES: dict[str, Case] = {
    "save_strategy": Case("epoch", {"max_steps": 1}),
    "save_steps": Case(1, {"save_strategy": "steps"}),
    "save_total_limit": Case(1, {"save_strategy": "steps", "save_steps": 1}),
    "log_completions": Case(True),
}
"""Keys with which other files are there."""

SHAPES: dict[str, Case] = {"pad_to_multiple_of": Case(64)}
"""Keys with which batches have another shape."""

LEARNED = "what is learned"
LOGGED = "what is logged"
WRITTEN = "which files are written"
SHAPED = "the shape of batches"
REACHES = "reaches the library, which is all that is tested"


def effects(table: str) -> dict[str, str]:
    """What each key that is passed on from a table changes, as the tests find it."""
    if table == "lora":
        return dict.fromkeys(LORA, LEARNED) | {"bias": "nothing: it may be said"}
    found = dict.fromkeys(TRAINER, LEARNED) | dict.fromkeys(ARRIVES, REACHES)
    found |= {key: f'not to be had here: the library says "{ENDS[key][1]}"' for key in ENDS}
    if table == "sft":
        found |= dict.fromkeys(SFT, LEARNED) | dict.fromkeys(SFT_LOGS, LOGGED)
        found |= dict.fromkeys(SFT_ARRIVES, REACHES)
        return found | dict.fromkeys(("save_steps", "save_total_limit"), WRITTEN)
    if table == "kto":  # the Trainer's keys are its own, and tried with [sft]
        found |= dict.fromkeys(TRAINER, REACHES) | dict.fromkeys(KTO, LEARNED)
        return found | dict.fromkeys(("save_steps", "save_total_limit"), REACHES)
    if table == "dpo":  # the Trainer's keys are its own, and tried with [sft]
        found |= dict.fromkeys(TRAINER, REACHES) | dict.fromkeys(DPO, LEARNED)
        return found | dict.fromkeys(DPO_ARRIVES, REACHES)
    found |= dict.fromkeys(GRPO, LEARNED) | dict.fromkeys(GRPO_LOGS, LOGGED)
    found |= dict.fromkeys(GRPO_ARRIVES, REACHES) | dict.fromkeys(FILES, WRITTEN)
    return found | dict.fromkeys(SHAPES, SHAPED)
