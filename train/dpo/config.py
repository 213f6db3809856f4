"""`trl.DPOConfig` from `[dpo]`, checked before anything is trained."""

import os
import warnings
from pathlib import Path

from trl import DPOConfig

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.model_loading import device_of

from ..recipe.evaluating import evaluation_keys
from ..recipe.optimiser import check_optimiser
from ..recipe.reporting import check_reporting
from ..recipe.schema import Recipe
from ..recipe.settings import Keys
from ..recipe.trainer_keys import refuse_sharding
from ..run.processes import PROCESSES, count
from ..sft.batches import of_each_process
from .tables import library_keys


def dpo_config(recipe: Recipe, checkpoints: Path) -> DPOConfig:
    """`[dpo]` on top of what medgym sets; a recipe may not set `SETTINGS.ours`.

    Where several processes train, each gets its share of the batches.

    Raises:
        UserError: TRL refuses a value, or the batches cannot be shared.
    """
    refuse_sharding()
    # The newest transformers warns of a name that the oldest one supported still needs.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    on_gpu = device_of(recipe.model.options) != "cpu"
    ours: Keys = {
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,
        "logging_steps": 1,
        "report_to": ["tensorboard"],
        "disable_tqdm": True,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "dataloader_num_workers": 0,
        # Of the reference model, which TRL would load by itself.
        "trust_remote_code": recipe.model.options.trust_remote_code,
    }
    keys = library_keys(recipe.dpo)
    evaluation = evaluation_keys(recipe.judge, keys, "dpo")
    if recipe.judge.best:
        ours["save_steps"] = recipe.judge.every
    keys = of_each_process(keys, count(), table="dpo", config=DPOConfig)
    try:
        return DPOConfig(
            **(ours | keys | evaluation),
            output_dir=str(checkpoints),
            seed=recipe.seed % 2**32,  # numpy takes no more
            data_seed=recipe.seed % 2**32,
            max_length=None,
            remove_unused_columns=False,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"TRL refuses [dpo]: {reason_of(error)}; fix: correct it") from error


def check_dpo(recipe: Recipe) -> None:
    """Have TRL look at `[dpo]` before anything is trained: it would refuse it hours later.

    Raises:
        UserError: it refuses it.
    """
    check_reporting({"report_to": ["tensorboard"]} | library_keys(recipe.dpo), "dpo")
    of_each_process(library_keys(recipe.dpo), count(), table="dpo", config=DPOConfig)
    if PROCESSES not in os.environ:
        check_optimiser(dpo_config(recipe, Path()), "dpo")
