"""Planted faults are found by the trainer of the other tests."""

from tests.train.conftest import make_trainer, no_old_garbage, uneven

__all__ = ["make_trainer", "no_old_garbage", "uneven"]
