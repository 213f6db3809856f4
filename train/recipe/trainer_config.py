"""The configuration of a trainer of TRL: what medgym sets for all, and the keys of a recipe."""

import warnings
from pathlib import Path
from typing import TypeVar

from transformers import TrainingArguments

from medgym.errors import UserError
from medgym.failures import reason_of

from .settings import Keys
from .trainer_keys import refuse_sharding

Config = TypeVar("Config", bound=TrainingArguments)


def trainer_config(
    kind: type[Config], table: str, keys: Keys, *, folder: Path, seed: int, on_gpu: bool
) -> Config:
    """A configuration of `kind` from the keys of a recipe's table; they override what medgym sets.

    Raises:
        UserError: TRL refuses a value.
    """
    refuse_sharding()
    # The newest transformers warns of a name that the oldest one supported still needs.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
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
    }
    seed %= 2**32  # numpy takes no more
    try:
        return kind(**(ours | keys), output_dir=str(folder), seed=seed, data_seed=seed)
    except (TypeError, ValueError) as error:
        raise UserError(f"TRL refuses [{table}]: {reason_of(error)}; fix: correct it") from error
