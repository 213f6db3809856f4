"""The configuration of a trainer of TRL: what medgym sets for all, and the keys of a recipe."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from transformers import TrainingArguments

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.gpu_memory import gpu_memory_error

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


@contextmanager
def made_by_trl(tables: str) -> Iterator[None]:
    """Where a trainer is made: what it or one of its libraries refuses is the user's to fix.

    Args:
        tables: of the recipe, that the trainer is made from.

    Raises:
        UserError: it refuses a value. That a GPU has no memory left is no such thing, and passes.
    """
    try:
        yield
    except (ValueError, RuntimeError, ImportError) as error:
        if gpu_memory_error(error, "") is not None:
            raise
        raise UserError(
            f"TRL refuses the recipe: {reason_of(error)}; fix: correct {tables}"
        ) from error
