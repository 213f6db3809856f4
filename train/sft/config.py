"""`trl.SFTConfig` from `[sft]`."""

import warnings
from pathlib import Path

import torch
from trl import SFTConfig

from medgym.errors import UserError
from medgym.failures import reason_of

from ..recipe.settings import Keys
from ..recipe.trainer_keys import refuse_sharding


def sft_config(settings: Keys, seed: int, folder: Path, device: str = "") -> SFTConfig:
    """`[sft]` on top of what medgym sets; a recipe may not set `SETTINGS.ours`.

    `device` is where the model is: `cpu` also where there is a GPU.

    Raises:
        UserError: TRL refuses a value.
    """
    refuse_sharding()
    # The newest transformers warns of a name that the oldest one supported still needs.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
    on_gpu = torch.cuda.is_available() and device != "cpu"
    ours: Keys = {
        "bf16": on_gpu,
        "use_cpu": not on_gpu,
        "gradient_checkpointing": on_gpu,
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "steps" if "save_steps" in settings else "no",
        "save_total_limit": 1,
        "dataloader_num_workers": 0,
    }
    try:
        return SFTConfig(
            **(ours | settings),
            output_dir=str(folder),
            seed=seed % 2**32,  # numpy takes no more
            data_seed=seed % 2**32,
            max_length=None,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"TRL refuses [sft]: {reason_of(error)}; fix: correct it") from error
