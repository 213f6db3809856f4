"""Processes that learn a cold start together divide the batches of one."""

import pytest

from medgym.errors import UserError
from medgym.train.sft.batches import of_each_process


@pytest.mark.parametrize(
    ("rows", "accumulated", "processes", "expected"),
    [
        (4, 8, 1, (4, 8)),
        (4, 8, 8, (4, 1)),
        (4, 8, 2, (4, 4)),
        (6, 1, 3, (2, 1)),
        (6, 2, 3, (2, 2)),
    ],
)
def test_a_step_has_as_many_samples(
    rows: int, accumulated: int, processes: int, expected: tuple[int, int]
) -> None:
    settings = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulated}
    each = of_each_process(settings | {"learning_rate": 1.0}, processes)
    found = (each["per_device_train_batch_size"], each["gradient_accumulation_steps"])
    assert found == expected
    assert found[0] * found[1] * processes == rows * accumulated
    assert each["learning_rate"] == 1.0


def test_trl_s_own_batch_is_divided_too() -> None:
    assert of_each_process({}, 1) == {}
    assert of_each_process({}, 4) == {"per_device_train_batch_size": 2}


def test_what_cannot_be_divided_is_one_line() -> None:
    with pytest.raises(UserError) as error:
        of_each_process({"gradient_accumulation_steps": 4}, 3)
    assert str(error.value) == (
        "3 processes cannot share the batches of [sft] (per_device_train_batch_size = 8, "
        "gradient_accumulation_steps = 4); fix: make one of them a multiple of 3, or start fewer "
        "processes"
    )
