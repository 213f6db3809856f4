"""`[sft]`: the keys of `trl.SFTConfig`, and what becomes of each."""

from ..recipe import trainer_keys
from ..recipe.settings import Only, Settings

_JUDGING = {key for key, place in trainer_keys.OURS.items() if place == trainer_keys.JUDGING}
_EXACT = "what the sampler saw and wrote: exact tokens, uncut, loss only on the policy's"

SETTINGS = Settings(
    table="sft",
    config="trl.SFTConfig",
    passed=trainer_keys.PASSED
    | {
        "loss_type", "label_smoothing_factor", "neftune_noise_alpha", "router_aux_loss_coef",
        "average_tokens_across_devices", "dataloader_drop_last", "train_sampling_strategy",
        "include_num_input_tokens_seen",
    },
    ours={key: place for key, place in trainer_keys.OURS.items() if key not in _JUDGING}
    | dict.fromkeys(
        (
            "max_length", "truncation_mode", "packing", "packing_strategy", "eval_packing",
            "padding_free", "completion_only_loss", "assistant_only_loss", "dataset_kwargs",
            "dataset_text_field", "remove_unused_columns", "eos_token", "pad_token",
        ),
        _EXACT,
    )
    | {
        "chat_template_path": "the model's own chat template",
        "save_strategy": "[sft] save_steps",
    },
    refused={
        key: reason
        for key, reason in trainer_keys.REFUSED.items()
        if key != "remove_unused_columns"
    }
    | dict.fromkeys(_JUDGING, "the cold start is judged only at the end; [judge] belongs to [grpo]")
    | {
        "shuffle_dataset": "the order of samples is shuffled again in every epoch as it is",
        "dataset_num_proc": "the samples are ready: nothing is made of them beforehand",
        "pad_to_multiple_of": "medgym makes the batches and pads them to their longest sample",
        "activation_offloading": "it is not tested here; gradient_checkpointing saves memory too",
    },
    only={
        "train_sampling_strategy": Only(
            ("random", "sequential"), "samples have no column of their lengths"
        ),
        "loss_type": Only(("nll", "dft"), trainer_keys.NO_OTHER),
    },
)  # fmt: skip
