"""`[sft]`: the keys of `trl.SFTConfig`, and what medgym sets of them."""

from ..recipe.settings import Settings

SETTINGS = Settings(
    table="sft",
    config="trl.SFTConfig",
    ours={
        "output_dir": "the run's folder",
        "seed": "the recipe's seed",
        "data_seed": "the recipe's seed",
        **dict.fromkeys(
            (
                "max_length", "packing", "padding_free", "completion_only_loss",
                "assistant_only_loss", "dataset_kwargs", "dataset_text_field",
                "chat_template_path", "remove_unused_columns",
            ),
            "what the sampler saw and wrote: exact tokens, uncut, loss only on the policy's",
        ),
    },
)  # fmt: skip
