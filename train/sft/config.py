"""`trl.SFTConfig` from `[sft]`."""

from pathlib import Path

import torch
from trl import SFTConfig

from ..recipe.settings import Keys
from ..recipe.trainer_config import trainer_config


def sft_config(settings: Keys, seed: int, folder: Path, device: str = "") -> SFTConfig:
    """`[sft]` on top of what medgym sets; a recipe may not set `SETTINGS.ours`.

    `device` is where the model is: `cpu` also where there is a GPU.

    Raises:
        UserError: TRL refuses a value.
    """
    ours: Keys = {
        "report_to": [],
        "save_strategy": "steps" if "save_steps" in settings else "no",
        "save_total_limit": 1,
    }
    exact: Keys = {
        "max_length": None,
        "remove_unused_columns": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    return trainer_config(
        SFTConfig,
        "sft",
        ours | settings | exact,
        folder=folder,
        seed=seed,
        on_gpu=torch.cuda.is_available() and device != "cpu",
    )
