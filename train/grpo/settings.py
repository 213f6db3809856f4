"""`[grpo]`: the keys of `trl.GRPOConfig`, and what medgym sets of them."""

from ..recipe.settings import Settings

SETTINGS = Settings(
    table="grpo",
    config="trl.GRPOConfig",
    ours={
        "output_dir": "the run's folder",
        "seed": "the recipe's seed",
        "temperature": "[rollout] temperature",
        "max_completion_length": "[rollout] max_tokens",
        "reward_weights": "the rubric",
        "use_vllm": "[rollout] policy",
    },
)
