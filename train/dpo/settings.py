"""`[dpo]`: the keys of `trl.DPOConfig`, and what becomes of each."""

from collections.abc import Mapping
from typing import Any

from ..recipe import trainer_keys
from ..recipe.settings import Needs, Only, Settings

LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot",
    "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip
"""What `loss_type` may name: all that TRL has."""

_EXACT = "what the sampler saw and wrote: exact tokens, uncut, loss only on the policy's"


def losses_of(keys: Mapping[str, Any]) -> list[str]:
    """The losses that a table asks for."""
    named = keys.get("loss_type", ["sigmoid"])
    return [named] if isinstance(named, str) else list(named)


def _with_loss(*names: str) -> Needs:
    said = " or ".join(f'"{name}"' for name in names)
    return Needs(f"dpo.loss_type {said}", lambda keys: bool(set(names) & set(losses_of(keys))))


def _with(key: str, said: str) -> Needs:
    return Needs(said, lambda keys: bool(keys.get(key)))


_SYNC = _with("sync_ref_model", "dpo.sync_ref_model = true")

SETTINGS = Settings(
    table="dpo",
    config="trl.DPOConfig",
    passed=trainer_keys.PASSED
    | {
        "save_strategy",
        # The order of pairs.
        "train_sampling_strategy", "dataloader_drop_last",
        # The loss.
        "loss_type", "loss_weights", "beta", "label_smoothing", "discopop_tau", "ld_alpha",
        "f_divergence_type", "f_alpha_divergence_coef", "use_weighting", "router_aux_loss_coef",
        # The reference.
        "precompute_ref_log_probs", "precompute_ref_batch_size", "sync_ref_model",
        "ref_model_mixup_alpha", "ref_model_sync_steps",
        # The model.
        "disable_dropout",
    },
    ours=trainer_keys.OURS
    | dict.fromkeys(
        (
            "max_length", "truncation_mode", "padding_free", "remove_unused_columns", "pad_token",
        ),
        _EXACT,
    )
    | {"include_num_input_tokens_seen": "TRL's own count of tokens"},
    refused={
        key: reason
        for key, reason in trainer_keys.REFUSED.items()
        if key != "remove_unused_columns"
    }
    | {
        "dataset_num_proc": "the samples are ready: nothing is made of them beforehand",
        "pad_to_multiple_of": "medgym makes the batches and pads them to their longest sample",
        "activation_offloading": "it is not tested here; gradient_checkpointing saves memory too",
        "label_smoothing_factor": "the loss of DPO has no labels; label_smoothing is its own",
        "neftune_noise_alpha": "the model would be trained with noise that its reference lacks",
        "average_tokens_across_devices": "the loss of DPO is a mean over pairs, not over tokens",
    },
    only={
        "save_strategy": Only(
            ("steps", "epoch", "no"), "which checkpoint is the best one is said by [judge] best"
        ),
        "train_sampling_strategy": Only(
            ("random", "sequential"), "pairs have no column of their lengths"
        ),
        "f_divergence_type": Only(
            ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"),
            trainer_keys.NO_OTHER,
        ),
    },
    needs={
        "label_smoothing": _with_loss("robust", "exo_pair", "aot", "aot_unpaired"),
        "discopop_tau": _with_loss("discopop"),
        "f_alpha_divergence_coef": Needs(
            'dpo.f_divergence_type "alpha_divergence"',
            lambda keys: keys.get("f_divergence_type") == "alpha_divergence",
        ),
        "precompute_ref_batch_size": _with(
            "precompute_ref_log_probs", "dpo.precompute_ref_log_probs = true"
        ),
        "ref_model_mixup_alpha": _SYNC,
        "ref_model_sync_steps": _SYNC,
    },
)  # fmt: skip
