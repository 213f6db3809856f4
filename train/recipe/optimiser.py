"""The optimiser and the schedule that a table asks for are made once before anything is trained."""

from typing import TYPE_CHECKING

import torch
from transformers import Trainer, get_scheduler

from medgym.errors import UserError
from medgym.failures import reason_of

if TYPE_CHECKING:
    from transformers import TrainingArguments


def check_optimiser(config: "TrainingArguments", table: str) -> None:
    """Have the libraries look at an optimiser's keys, which they would do when training begins.

    Raises:
        UserError: they refuse one, or lack a library.
    """
    weights = [torch.nn.Parameter(torch.zeros(2, 2))]
    steps = int(config.max_steps) if config.max_steps > 0 else 1_000_000  # epochs are counted later
    given = config.lr_scheduler_kwargs  # transformers has read a string of them
    try:
        kind, keys = Trainer.get_optimizer_cls_and_kwargs(config)
        optimiser = kind(weights, weight_decay=config.weight_decay, **keys)
        get_scheduler(
            config.lr_scheduler_type,
            optimiser,
            config.get_warmup_steps(steps),
            steps,
            given if isinstance(given, dict) else {},
        )
    except (TypeError, ValueError, ImportError, RuntimeError) as error:
        raise UserError(
            f"[{table}] asks for an optimiser that cannot be had: {reason_of(error)}; fix: correct "
            "its keys, or install what it needs"
        ) from error
