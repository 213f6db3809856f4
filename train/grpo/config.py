"""`trl.GRPOConfig` from `[grpo]`, checked before anything is trained."""

import math
import os
import warnings
from pathlib import Path

import torch
from trl import GRPOConfig

from medgym.errors import UserError
from medgym.failures import reason_of

from ..recipe.reporting import check_reporting
from ..recipe.schema import Recipe
from ..recipe.settings import Keys
from ..run.processes import PROCESSES


def grpo_config(recipe: Recipe, checkpoints: Path) -> GRPOConfig:
    """`[grpo]` on top of what medgym sets; a recipe may not set `SETTINGS.ours`.

    Raises:
        UserError: TRL refuses a value, or checkpoints would fall between steps that share what was
            played, from where no run can be resumed exactly.
    """
    # The newest transformers warns of a name that the oldest one supported still needs.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    on_gpu = torch.cuda.is_available()
    ours: Keys = {
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,
        "logging_steps": 1,
        "report_to": ["tensorboard"],
        "disable_tqdm": True,
        "shuffle_dataset": False,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "dataloader_num_workers": 0,
    }
    try:
        config = GRPOConfig(
            **(ours | recipe.grpo),
            output_dir=str(checkpoints),
            seed=recipe.seed,
            data_seed=recipe.seed,
            temperature=recipe.rollout.temperature,
            top_k=0,
            max_completion_length=recipe.rollout.max_turns * recipe.rollout.max_tokens,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"TRL refuses [grpo]: {reason_of(error)}; fix: correct it") from error
    shared = int(config.steps_per_generation or 1) * config.num_iterations
    period = shared // math.gcd(shared, config.gradient_accumulation_steps)
    if config.save_strategy == "steps" and config.save_steps % period:
        raise UserError(
            f"{period} steps share what was played and [grpo] save_steps is {config.save_steps:g}; "
            f"fix: a multiple of {period}, so that runs resume exactly"
        )
    return config


def check_grpo(recipe: Recipe) -> None:
    """Have TRL look at `[grpo]` before anything is trained: it would refuse it hours later.

    Raises:
        UserError: it refuses it.
    """
    check_reporting(recipe.grpo, "grpo")
    if PROCESSES not in os.environ:
        grpo_config(recipe, Path())
