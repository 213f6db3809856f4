"""`trl.DPOConfig` from `[dpo]`, checked before anything is trained."""

import os
from pathlib import Path

from trl import DPOConfig

from medgym.model_loading import device_of

from ..recipe.evaluating import evaluation_keys
from ..recipe.optimiser import check_optimiser
from ..recipe.reporting import check_reporting
from ..recipe.schema import Recipe
from ..recipe.settings import Keys
from ..recipe.trainer_config import trainer_config
from ..run.processes import PROCESSES, count
from ..sft.batches import of_each_process
from .tables import library_keys


def dpo_config(recipe: Recipe, checkpoints: Path) -> DPOConfig:
    """`[dpo]` on top of what medgym sets; a recipe may not set `SETTINGS.ours`.

    Where several processes train, each gets its share of the batches.

    Raises:
        UserError: TRL refuses a value, or the batches cannot be shared.
    """
    ours: Keys = {
        # Of the reference model, which TRL would load by itself.
        "trust_remote_code": recipe.model.options.trust_remote_code,
    }
    keys = library_keys(recipe.dpo)
    evaluation = evaluation_keys(recipe.judge, keys, "dpo")
    if recipe.judge.best:
        ours["save_steps"] = recipe.judge.every
    keys = of_each_process(keys, count(), table="dpo", config=DPOConfig)
    exact: Keys = {"max_length": None, "remove_unused_columns": False}
    return trainer_config(
        DPOConfig,
        "dpo",
        ours | keys | evaluation | exact,
        folder=checkpoints,
        seed=recipe.seed,
        on_gpu=device_of(recipe.model.options) != "cpu",
    )


def check_dpo(recipe: Recipe) -> None:
    """Have TRL look at `[dpo]` before anything is trained: it would refuse it hours later.

    Raises:
        UserError: it refuses it.
    """
    check_reporting({"report_to": ["tensorboard"]} | library_keys(recipe.dpo), "dpo")
    of_each_process(library_keys(recipe.dpo), count(), table="dpo", config=DPOConfig)
    if PROCESSES not in os.environ:
        check_optimiser(dpo_config(recipe, Path()), "dpo")
