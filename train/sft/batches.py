"""The batches of a cold start, divided among the processes that learn together."""

from trl import SFTConfig

from medgym.errors import UserError

from ..recipe.settings import Keys

ACCUMULATION, ROWS = "gradient_accumulation_steps", "per_device_train_batch_size"


def of_each_process(settings: Keys, processes: int) -> Keys:
    """`[sft]` as each of several processes takes it: their steps are those of one process.

    The batches that a step accumulates are divided among the processes if their number allows it,
    else the samples of each batch are.

    Raises:
        UserError: neither number can be divided by the number of processes.
    """
    if processes == 1:
        return settings
    fields = SFTConfig.__dataclass_fields__
    numbers = {key: int(settings.get(key, fields[key].default)) for key in (ACCUMULATION, ROWS)}
    for key, number in numbers.items():
        if number % processes == 0:
            return settings | {key: number // processes}
    raise UserError(
        f"{processes} processes cannot share the batches of [sft] ({ROWS} = {numbers[ROWS]}, "
        f"{ACCUMULATION} = {numbers[ACCUMULATION]}); fix: make one of them a multiple of "
        f"{processes}, or start fewer processes"
    )
