"""`trl.GRPOConfig` from `[grpo]`, checked before anything is trained."""

import math
import os
from pathlib import Path

from trl import GRPOConfig

from medgym.errors import UserError
from medgym.model_loading import device_of

from ..recipe.evaluating import evaluation_keys
from ..recipe.optimiser import check_optimiser
from ..recipe.reporting import check_reporting
from ..recipe.schema import Recipe
from ..recipe.settings import Keys
from ..recipe.trainer_config import trainer_config
from ..run.processes import PROCESSES
from .settings import SETTINGS


def grpo_config(recipe: Recipe, checkpoints: Path) -> GRPOConfig:
    """`[grpo]` on top of what medgym sets; a recipe may not set `SETTINGS.ours`.

    Raises:
        UserError: TRL refuses a value, or checkpoints would fall between steps that share what was
            played, from where no run can be resumed exactly.
    """
    ours: Keys = {
        "shuffle_dataset": False,
        # Of the reference model, which TRL loads by itself.
        "trust_remote_code": recipe.model.options.trust_remote_code,
    }
    # Images of all processes are gathered for tables of episodes alone.
    ours["log_multimodal"] = bool(recipe.grpo.get("log_completions", False))
    ours["num_completions_to_print"] = 0
    evaluation = evaluation_keys(recipe.judge, recipe.grpo, "grpo")
    if evaluation:
        evaluation["num_generations_eval"] = 1
    if recipe.judge.best:
        ours["save_steps"] = recipe.judge.every
    played: Keys = {
        "temperature": recipe.rollout.temperature,
        "top_k": 0,
        "max_completion_length": recipe.rollout.max_turns * recipe.rollout.max_tokens,
    }
    config = trainer_config(
        GRPOConfig,
        "grpo",
        ours | SETTINGS.of_class(recipe.grpo) | evaluation | played,
        folder=checkpoints,
        seed=recipe.seed,
        on_gpu=device_of(recipe.model.options) != "cpu",
    )
    shared = int(config.steps_per_generation or 1) * config.num_iterations
    period = shared // math.gcd(shared, config.gradient_accumulation_steps)
    if config.save_strategy == "steps" and config.save_steps % period:
        raise UserError(
            f"{period} steps share what was played and [grpo] save_steps is {config.save_steps:g}; "
            f"fix: a multiple of {period}, so that runs resume exactly"
        )
    if recipe.judge.best and recipe.judge.every % period:
        raise UserError(
            f"{period} steps share what was played and [judge] keeps a checkpoint every "
            f"{recipe.judge.every}; fix: every a multiple of {period}, so that runs resume exactly"
        )
    return config


def check_grpo(recipe: Recipe) -> None:
    """Have TRL look at `[grpo]` before anything is trained: it would refuse it hours later.

    Raises:
        UserError: it refuses it.
    """
    check_reporting({"report_to": ["tensorboard"]} | recipe.grpo, "grpo")
    if PROCESSES not in os.environ:
        check_optimiser(grpo_config(recipe, Path()), "grpo")
