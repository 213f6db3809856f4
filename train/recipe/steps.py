"""How long a table trains: it has to be written, and is said when the training begins."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from transformers import TrainerCallback

from medgym.errors import UserError

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


def check_steps(keys: Mapping[str, object], where: str, fix: str) -> None:
    """Make sure that a table says how long it trains, which its library would decide by itself.

    Args:
        keys: of the table. where: how the error names it. fix: in place of `max_steps = 0`.

    Raises:
        UserError: it does not, or it trains for no step.
    """
    steps, epochs = keys.get("max_steps"), keys.get("num_train_epochs")
    if steps is None and epochs is None:
        raise UserError(
            f"{where} does not say how long it trains; fix: set max_steps or num_train_epochs"
        )
    if isinstance(steps, int) and (steps == 0 or (steps < 0 and epochs is None)):
        raise UserError(f"{where}: max_steps is {steps}; fix: {fix}")
    if steps is None and isinstance(epochs, int | float) and epochs <= 0:
        raise UserError(f"{where}: num_train_epochs is {epochs}; fix: {fix}")


def require_a_batch(args: "TrainingArguments", rows: int, table: str, unit: str) -> None:
    """Make sure that there is a whole batch where incomplete ones are dropped.

    The Trainer would end after no step, and what has learned nothing would be published.

    Args:
        rows: how many there are to learn from. table: whose keys `args` are. unit: what a row is.

    Raises:
        UserError: there is none.
    """
    needed = args.per_device_train_batch_size * args.world_size
    if args.dataloader_drop_last and rows < needed:
        said = "" if args.world_size == 1 else f" in each of {args.world_size} processes"
        raise UserError(
            f"a batch of [{table}] has {args.per_device_train_batch_size} {unit}{said}, and there "
            f"are {rows} to learn from; fix: a smaller per_device_train_batch_size, or more cases"
        )


class SaidSteps(TrainerCallback):
    """Prints one line when training begins: `GRPO: 95 steps of 64 episodes,
    on 380 of 1500 cases`.

    Args:
        what: is trained. unit: of what a step learns from.
        available: how many there are to learn from. of: what these are.
        per_case: units of one of these. repeats: steps that learn from the same units.
    """

    def __init__(
        self,
        what: str,
        unit: str,
        available: int,
        of: str = "cases",
        *,
        per_case: int = 1,
        repeats: int = 1,
    ) -> None:
        self._what = what
        self._unit = unit
        self._available = available
        self._of = of
        self._per_case = per_case
        self._repeats = repeats

    def on_train_begin(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_: object,
    ) -> None:
        if not state.is_world_process_zero:
            return
        steps = int(state.max_steps)
        rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        uses = steps * rows / self._per_case / self._repeats
        passes = uses / self._available
        used = f"{uses:.0f} of {self._available}" if passes <= 1 else f"{self._available}"
        again = "" if passes <= 1 else f", {passes:.3g} times"
        after = f", from step {state.global_step + 1}" if state.global_step else ""
        steps_of = f"{steps} {'step' if steps == 1 else 'steps'} of {rows} {self._unit}"
        print(f"{self._what}: {steps_of}{after}, on {used} {self._of}{again}", file=sys.stderr)
