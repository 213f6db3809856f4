"""`[grpo]`: the keys of `trl.GRPOConfig`, and what becomes of each."""

from collections.abc import Mapping
from typing import Any

from ..recipe import trainer_keys
from ..recipe.settings import Needs, Only, Own, Settings

BRANCHES = 4
"""How often each turn is played on where credit is by turns and the recipe does not say."""

_CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
_ENGINE = "[rollout] policy"
_OTHER_DISTRIBUTION = trainer_keys.SAMPLING["top_p"]


def _with_loss(*names: str) -> Needs:
    said = " or ".join(f'"{name}"' for name in names)
    return Needs(f"grpo.loss_type {said}", lambda keys: keys.get("loss_type", "dapo") in names)


def _with(key: str, said: str) -> Needs:
    return Needs(said, lambda keys: bool(keys.get(key)))


def _corrects(keys: Mapping[str, Any]) -> bool:
    return bool(keys.get(_ENGINE)) and keys.get("vllm_importance_sampling_correction", True)


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


_KL = _with("beta", "a grpo.beta above 0")
_SYNC = _with("sync_ref_model", "grpo.sync_ref_model = true")
_ADAPTIVE = _with("use_adaptive_entropy", "grpo.use_adaptive_entropy = true")
_TABLES = _with("log_completions", "grpo.log_completions = true")

SETTINGS = Settings(
    table="grpo",
    config="trl.GRPOConfig",
    passed=trainer_keys.PASSED
    | {
        "save_strategy",
        # Groups and generations.
        "num_generations", "generation_batch_size", "steps_per_generation", "num_iterations",
        "pad_to_multiple_of",
        # The advantage.
        "scale_rewards", "multi_objective_aggregation",
        # The loss.
        "loss_type", "epsilon", "epsilon_high", "delta", "importance_sampling_level",
        "sapo_temperature_neg", "sapo_temperature_pos", "vespo_k_pos", "vespo_lambda_pos",
        "vespo_k_neg", "vespo_lambda_neg", "off_policy_mask_threshold",
        "vllm_importance_sampling_correction", "vllm_importance_sampling_mode",
        "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min",
        "router_aux_loss_coef",
        # The reference model.
        "beta", "use_bias_correction_kl", "sync_ref_model", "ref_model_mixup_alpha",
        "ref_model_sync_steps",
        # Entropy.
        "top_entropy_quantile", "entropy_coef", "use_adaptive_entropy", "entropy_coef_min",
        "entropy_coef_max", "entropy_coef_delta", "entropy_target",
        # The model.
        "disable_dropout",
        # What is logged.
        "log_completions", "log_multimodal", "num_completions_to_print", "log_unique_prompts",
    },
    ours=trainer_keys.OURS
    | {
        "temperature": "[rollout] temperature",
        "max_completion_length": "[rollout] max_tokens",
        "max_tool_calling_iterations": "[rollout] max_turns",
        "mask_truncated_completions": '[rollout] overlong = "mask"',
        "chat_template_kwargs": "[rollout] chat_template_kwargs",
        "shuffle_dataset": "[cases] order",
        "train_sampling_strategy": "[cases] order",
        "reward_weights": "the rubric",
        "num_generations_eval": trainer_keys.JUDGING,
        "include_num_input_tokens_seen": "medgym's own count of tokens",
        "use_vllm": _ENGINE,
        **dict.fromkeys(
            (
                "vllm_mode", "vllm_model_impl", "vllm_enable_sleep_mode", "vllm_server_base_url",
                "vllm_server_host", "vllm_server_port", "vllm_server_timeout", "vllm_group_port",
                "vllm_gpu_memory_utilization", "vllm_max_model_length",
                "vllm_tensor_parallel_size",
            ),
            _ENGINE,
        ),
    },
    refused=trainer_keys.REFUSED
    | {
        **trainer_keys.SAMPLING,
        "generation_kwargs": _OTHER_DISTRIBUTION,
        "vllm_structured_outputs_regex": _OTHER_DISTRIBUTION,
        "cache_implementation": "medgym's sampler has one cache",
        "use_transformers_paged": "medgym's sampler batches by itself",
        "use_transformers_continuous_batching": "medgym's sampler batches by itself",
        "transformers_continuous_batching_config": "medgym's sampler batches by itself",
        "vllm_importance_sampling_cap": (
            "it is the old name of vllm_importance_sampling_clip_max"
        ),
        "cast_lm_head_to_fp32": "TRL does not find the head of a vision-language model",
        "ds3_gather_for_generation": trainer_keys.REFUSED["deepspeed"],
        "log_completions_hub_repo": trainer_keys.REFUSED["push_to_hub"],
        "label_smoothing_factor": "the loss of GRPO has no labels",
        "neftune_noise_alpha": "the model would be trained with noise that its sampler lacks",
        "average_tokens_across_devices": "TRL counts the tokens of all processes in any case",
        "dataloader_drop_last": "TRL deals whole groups only",
    },
    only={
        "save_strategy": Only(
            ("steps", "epoch", "no"), "which checkpoint is the best one is said by [judge] best"
        ),
        "loss_type": Only((*_CLIPPED, "cispo", "sapo", "vespo"), trainer_keys.NO_OTHER),
        "scale_rewards": Only(("group", "batch", "none", True, False), trainer_keys.NO_OTHER),
        "importance_sampling_level": Only(("token", "sequence"), trainer_keys.NO_OTHER),
        "multi_objective_aggregation": Only(
            ("sum_then_normalize", "normalize_then_sum"), trainer_keys.NO_OTHER
        ),
        "vllm_importance_sampling_mode": Only(
            ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
            trainer_keys.NO_OTHER,
        ),
    },
    needs={
        "delta": _with_loss(*_CLIPPED),
        "epsilon": _with_loss(*_CLIPPED),
        "epsilon_high": _with_loss(*_CLIPPED, "cispo"),
        **dict.fromkeys(("sapo_temperature_neg", "sapo_temperature_pos"), _with_loss("sapo")),
        **dict.fromkeys(
            ("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg"),
            _with_loss("vespo"),
        ),
        "use_bias_correction_kl": _KL,
        "sync_ref_model": _KL,
        "ref_model_mixup_alpha": _SYNC,
        "ref_model_sync_steps": _SYNC,
        **dict.fromkeys(
            ("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"),
            _ADAPTIVE,
        ),
        **dict.fromkeys(("num_completions_to_print", "log_unique_prompts"), _TABLES),
        "vllm_importance_sampling_correction": _with(_ENGINE, _ENGINE),
        **dict.fromkeys(
            (
                "vllm_importance_sampling_mode", "vllm_importance_sampling_clip_max",
                "vllm_importance_sampling_clip_min",
            ),
            Needs(f"{_ENGINE} and vllm_importance_sampling_correction", _corrects),
        ),
        "credit_branches": Needs(
            'grpo.credit = "turn"', lambda keys: keys.get("credit") == "turn"
        ),
        "credit": Needs(
            'grpo.multi_objective_aggregation = "sum_then_normalize"',
            lambda keys: keys.get("multi_objective_aggregation") in (None, "sum_then_normalize"),
        ),
    },
    own={
        "credit": Own(
            'what has an advantage: the whole `"episode"` (the default) or each `"turn"`',
            '"episode" or "turn"',
            ("episode", "turn").__contains__,
        ),
        "credit_branches": Own(
            f"how often each turn is played on for its value; {BRANCHES} by default",
            "a whole number of 1 or more",
            _is_count,
        ),
    },
)  # fmt: skip
