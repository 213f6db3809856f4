"""When a distance stops a run, when it is only said, and what it is made of."""

import logging
import math
from typing import Any

import pytest
import torch

from medgym.train.grpo.watch.distance import (
    Apart,
    Closeness,
    Distance,
    DistanceCheck,
    DistanceMeter,
    same_arithmetic,
)

FAR = Distance(mean=0.2, greatest=1.0, likelier=1.0)
BETWEEN = Distance(mean=0.05, greatest=0.5, likelier=0.5)
NEAR = Distance(mean=1e-4, greatest=0.04, likelier=1e-5)


@pytest.mark.parametrize(
    ("distance", "closeness"),
    [
        (FAR, "fresh"),
        (BETWEEN, "same"),
        (Distance(1e-4, 0.2, 0.2), "same"),
        (Distance(math.nan, 0.0, 0.0), "fresh"),
        (Distance(0.0, math.nan, math.nan), "same"),
    ],
)
def test_the_weights_in_training_stop_it_at_once(distance: Distance, closeness: Closeness) -> None:
    with pytest.raises(Apart, match=r"nats a token apart in step 7, .*; fix: .*--resume"):
        DistanceCheck().see(distance, 7, closeness)


def test_older_weights_stop_it_when_they_stay_away() -> None:
    check = DistanceCheck()
    for distance in (FAR, FAR, NEAR, FAR, FAR):
        check.see(distance, 1, "old")
    with pytest.raises(Apart, match=r"0\.2 nats a token"):
        check.see(FAR, 6, "old")


def test_what_is_between_the_limits_is_said_once_for_as_long_as_it_lasts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check = DistanceCheck()
    with caplog.at_level(logging.WARNING, "medgym"):
        for step, distance in enumerate((NEAR, BETWEEN, BETWEEN, NEAR, BETWEEN)):
            check.see(distance, step, "fresh")
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "sampler and trainer are 0.05 nats a token apart in step 1",
        "sampler and trainer are 0.05 nats a token apart in step 4",
    ]


def test_sequences_without_weight_stop_it_when_they_stay_the_most(
    caplog: pytest.LogCaptureFixture,
) -> None:
    check = DistanceCheck()
    most, half = (Distance(1e-4, 0.04, 1e-5, zero_weight=share) for share in (0.75, 0.5))
    with caplog.at_level(logging.WARNING, "medgym"):
        for distance in (most, most, half, most, most):
            check.see(distance, 1, "fresh")
    assert len(caplog.records) == 2
    with pytest.raises(Apart, match=r"ignored 75% of the sequences .*token_truncate"):
        check.see(most, 6, "fresh")


class Alone:
    """An accelerator of one process."""

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor


def inputs(weights: Any = None) -> dict[str, torch.Tensor]:
    """Three rows of three tokens: two sampled tokens, one, none."""
    given = {
        "completion_mask": torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1]]),
        "tool_mask": torch.tensor([[1, 0, 1], [0, 1, 1], [0, 0, 0]]),
        "sampling_per_token_logps": torch.full((3, 3), -1.0),
    }
    return given if weights is None else given | {"importance_sampling_ratio": weights}


def test_the_distance_is_of_sampled_tokens_alone() -> None:
    meter = DistanceMeter(Alone())  # type: ignore[arg-type]
    trainers = torch.tensor([[-1.5, 9.0, -1.0], [9.0, -0.9, 9.0], [9.0, 9.0, 9.0]])
    meter.add(inputs(), trainers)
    found = meter.take()
    k3 = [math.expm1(r) - r for r in (-0.5, 0.0, 0.1)]
    assert found.mean == pytest.approx(sum(k3) / 3, rel=1e-5)
    assert found.greatest == pytest.approx(0.5)
    assert found.likelier == pytest.approx(0.1)
    assert found.zero_weight is None
    meter.add(inputs(), trainers.fill_(-1.0))
    assert meter.take() == Distance(0.0, 0.0, 0.0), "every step counts by itself"


@pytest.mark.parametrize(
    ("weights", "share"),
    [
        (torch.tensor([[0.0], [1.2], [0.0]]), 0.5),
        (torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]), 1.0),
    ],
)
def test_sequences_without_weight_are_counted(weights: torch.Tensor, share: float) -> None:
    meter = DistanceMeter(Alone())  # type: ignore[arg-type]
    meter.add(inputs(weights), torch.full((3, 3), -1.0))
    assert meter.take().zero_weight == share


def test_the_same_arithmetic_is_float32_without_dropout() -> None:
    plain, half = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2).bfloat16()
    assert same_arithmetic(plain, plain)
    assert not same_arithmetic(half, plain)
    assert not same_arithmetic(plain, half)
    assert not same_arithmetic(plain, torch.nn.Sequential(plain, torch.nn.Dropout(0.1)))
    assert same_arithmetic(plain, torch.nn.Sequential(plain, torch.nn.Dropout(0.0)))
    attention = torch.nn.Linear(2, 2)
    attention.attention_dropout = 0.1  # type: ignore[assignment]
    assert not same_arithmetic(plain, attention)
