"""`[kto]`: the keys of `trl.KTOConfig`, and what becomes of each."""

from ..recipe import trainer_keys
from ..recipe.settings import Only, Settings

_EXACT = "what the sampler saw and wrote: exact tokens, uncut, loss only on the policy's"
_JUDGING = {key for key, place in trainer_keys.OURS.items() if place == trainer_keys.JUDGING}
_PRECOMPUTED = "TRL computes them without images"
_SYNCED = "the reference is the model below the adapter, which does not move"

SETTINGS = Settings(
    table="kto",
    config="trl.KTOConfig",
    passed=trainer_keys.PASSED
    | {
        "loss_type", "beta", "desirable_weight", "undesirable_weight", "disable_dropout",
        "router_aux_loss_coef",
    },
    ours={key: place for key, place in trainer_keys.OURS.items() if key not in _JUDGING}
    | dict.fromkeys(("max_length", "remove_unused_columns"), _EXACT)
    | {
        "save_strategy": "[kto] save_steps",
        "include_num_input_tokens_seen": "TRL's own count of tokens",
        "train_sampling_strategy": "the recipe's seed, by which episodes are shuffled once",
        "dataloader_drop_last": "the loss, which cannot be had of the one episode that may be left",
    },
    refused={
        key: reason
        for key, reason in trainer_keys.REFUSED.items()
        if key != "remove_unused_columns"
    }
    | dict.fromkeys(_JUDGING, "KTO is judged only at the end; [judge] belongs to [grpo]")
    | {
        "dataset_num_proc": "the samples are ready: nothing is made of them beforehand",
        "pad_to_multiple_of": "medgym makes the batches and pads them to their longest sample",
        "activation_offloading": "it is not tested here; gradient_checkpointing saves memory too",
        "label_smoothing_factor": "the loss of KTO has no labels",
        "neftune_noise_alpha": "the model would be trained with noise that its reference lacks",
        "average_tokens_across_devices": "the loss of KTO is a mean over episodes, not over tokens",
        **dict.fromkeys(("precompute_ref_log_probs", "precompute_ref_batch_size"), _PRECOMPUTED),
        **dict.fromkeys(
            ("sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"), _SYNCED
        ),
    },
    only={"loss_type": Only(("kto", "apo_zero_unpaired"), trainer_keys.NO_OTHER)},
)  # fmt: skip
