"""The batches of a training, divided among the processes that learn together."""

from typing import TYPE_CHECKING

from trl import SFTConfig

from medgym.errors import UserError

from ..recipe.settings import Keys

if TYPE_CHECKING:
    from transformers import TrainingArguments

ACCUMULATION, ROWS = "gradient_accumulation_steps", "per_device_train_batch_size"


def of_each_process(
    settings: Keys,
    processes: int,
    *,
    table: str = "sft",
    config: "type[TrainingArguments]" = SFTConfig,
) -> Keys:
    """A table as each of several processes takes it: their steps are those of one process.

    The batches that a step accumulates are divided among the processes if their number allows it,
    else the samples of each batch are.

    Args:
        settings: the keys of `table`, which are those of `config`.

    Raises:
        UserError: neither number can be divided by the number of processes.
    """
    if processes == 1:
        return settings
    fields = config.__dataclass_fields__
    numbers = {key: int(settings.get(key, fields[key].default)) for key in (ACCUMULATION, ROWS)}
    for key, number in numbers.items():
        if number % processes == 0:
            return settings | {key: number // processes}
    raise UserError(
        f"{processes} processes cannot share the batches of [{table}] ({ROWS} = {numbers[ROWS]}, "
        f"{ACCUMULATION} = {numbers[ACCUMULATION]}); fix: make one of them a multiple of "
        f"{processes}, or start fewer processes"
    )
