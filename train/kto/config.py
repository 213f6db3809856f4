"""`trl.KTOConfig` from `[kto]`, checked before anything is trained."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trl import KTOConfig

from medgym.errors import UserError
from medgym.model_loading import device_of

from ..recipe.optimiser import check_optimiser
from ..recipe.reporting import check_reporting
from ..recipe.schema import Recipe
from ..recipe.settings import Keys
from ..recipe.steps import check_steps
from ..recipe.trainer_config import trainer_config
from ..run.processes import PROCESSES, count
from ..sft.batches import of_each_process


def kto_config(recipe: Recipe, checkpoints: Path) -> KTOConfig:
    """`[kto]` on top of what medgym sets; a recipe may not set `SETTINGS.ours`.

    Where several processes train, each gets its share of the batches.

    Raises:
        UserError: TRL refuses a value, a batch has too few episodes or cannot be shared.
    """
    keys = of_each_process(recipe.kto, count(), table="kto", config=KTOConfig)
    ours: Keys = {
        "dataloader_drop_last": True,
        "max_length": None,
        "remove_unused_columns": False,
        "train_sampling_strategy": "sequential",
    }
    config = trainer_config(
        KTOConfig,
        "kto",
        keys | ours,
        folder=checkpoints,
        seed=recipe.seed,
        on_gpu=device_of(recipe.model.options) != "cpu",
    )
    if estimates_kl(recipe.kto) and config.per_device_train_batch_size < 2:
        raise UserError(
            "a batch of [kto] has 1 episode in a process, and the loss kto compares an episode "
            "with others of its batch; fix: per_device_train_batch_size = 2 or more for each, or "
            'loss_type = "apo_zero_unpaired"'
        )
    return config


def estimates_kl(kto: Mapping[str, Any]) -> bool:
    """Whether the loss needs the divergence from the reference, on words of other episodes."""
    return bool(kto.get("loss_type", "kto") == "kto")


def check_kto(recipe: Recipe) -> None:
    """Have TRL look at `[kto]` before anything is trained.

    Raises:
        UserError: it refuses it, or the reference cannot be had.
    """
    check_steps(recipe.kto, "[kto]", "remove [kto]")
    check_reporting({"report_to": ["tensorboard"]} | recipe.kto, "kto")
    if not recipe.lora:
        raise UserError(
            f"{recipe.name}: [kto] needs [lora]: its reference is the model without the adapter; "
            "fix: add [lora]"
        )
    of_each_process(recipe.kto, count(), table="kto", config=KTOConfig)
    if PROCESSES not in os.environ:
        check_optimiser(kto_config(recipe, Path()), "kto")
