"""A step on pairs is TRL's where TRL has its loss, and the sum of the terms where it has not."""

from typing import Any


def losses(trainer: Any) -> list[float]:
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def test_tmp(make: Any) -> None:
    t = make(terms={"image": 1.0, "anchor": 1.0}, images={"how": "blank"})
    print(losses(t))
    print(t.state.log_history)
