"""How the course of a GRPO training is steered: where it ends, and which checkpoint is the best."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import EarlyStoppingCallback, TrainerCallback, TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SchedulerType

from medgym.errors import RunError
from medgym.storage.layout import Place

from ..recipe.judge import JudgeTable

if TYPE_CHECKING:
    import torch
    from transformers import TrainerControl, TrainingArguments


def choosing(table: JudgeTable, place: Place) -> list[TrainerCallback]:
    """What keeps the best checkpoint, and stops where none gets better, as `[judge]` asks."""
    made: list[TrainerCallback] = [KeepBest(place)] if table.best else []
    return [*made, EarlyStoppingCallback(table.patience)] if table.patience else made


def has_stopped(left: TrainerState, table: JudgeTable, end: int | None) -> bool:
    """Whether a training had come to its end at the checkpoint that it left.

    Args:
        left: what the checkpoint says. end: the last step that is asked for now.
    """
    if end is not None and left.global_step >= end:
        return True
    callbacks: Any = left.stateful_callbacks  # as JSON holds them
    noted = callbacks.get(EarlyStoppingCallback.__name__, {})
    waited = noted.get("attributes", {}).get("early_stopping_patience_counter", 0)
    return bool(table.patience) and waited >= table.patience and end in (None, left.max_steps)


def checkpoint_of(place: Place, step: int) -> Path:
    """The best checkpoint, which must be there.

    Raises:
        RunError: it is not.
    """
    path = place.checkpoints / f"{PREFIX_CHECKPOINT_DIR}-{step}"
    if not path.is_dir():
        raise RunError(f"the best checkpoint {path} is gone; fix: restore it, or begin a new run")
    return path


class StopAt(TrainerCallback):
    """Stops at a step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(
        self,
        args: "TrainingArguments",
        state: TrainerState,
        control: "TrainerControl",
        **_: object,
    ) -> None:
        if state.global_step >= self._step:
            control.should_save = args.save_strategy != "no"
            control.should_training_stop = True


class NewEnd(TrainerCallback):
    """Puts the learning rate onto the schedule to the new last step, and says what it becomes.

    The Trainer computes the schedule anew to the new end. But the optimiser resumes with the rate
    of the old one, which may be 0 at its end, and would use it for one more step.

    Args:
        before: the last step that the run had. said: whether this process says so.
    """

    def __init__(self, before: int, said: bool) -> None:
        self._before = before
        self._said = said

    def on_train_begin(
        self,
        args: "TrainingArguments",
        state: TrainerState,
        control: "TrainerControl",
        optimizer: "torch.optim.Optimizer | None" = None,
        lr_scheduler: object = None,
        **_: object,
    ) -> None:
        from torch.optim.lr_scheduler import LambdaLR

        if optimizer is None:
            return
        old = float(optimizer.param_groups[0]["lr"])
        if isinstance(lr_scheduler, LambdaLR):  # the others follow figures, and know of no end
            at = lr_scheduler.last_epoch
            factors = [factor(at) for factor in lr_scheduler.lr_lambdas]
            rates = [base * f for base, f in zip(lr_scheduler.base_lrs, factors, strict=True)]
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            lr_scheduler._last_lr = rates
        if self._said:
            new = float(optimizer.param_groups[0]["lr"])
            schedule = SchedulerType(args.lr_scheduler_type).value
            print(
                f"the last step is now {state.max_steps}, not {self._before}: the learning rate "
                f"follows its schedule ({schedule}) to the new end, and continues after step "
                f"{state.global_step} with {new:.3g} instead of {old:.3g}",
                file=sys.stderr,
            )


class KeepBest(TrainerCallback):
    """Has a checkpoint of every evaluation, and finds the best one again in a resumed run."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def on_train_begin(
        self, args: "TrainingArguments", state: TrainerState, control: "TrainerControl", **_: object
    ) -> None:
        if state.best_global_step is not None:  # the folder may have moved since
            best = checkpoint_of(self._place, state.best_global_step)
            state.best_model_checkpoint = str(best)

    def on_evaluate(
        self, args: "TrainingArguments", state: TrainerState, control: "TrainerControl", **_: object
    ) -> None:
        control.should_save = True
