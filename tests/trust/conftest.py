"""Planted faults are found by the trainer of the other tests."""

from tests.train.conftest import make_trainer, uneven

__all__ = ["make_trainer", "uneven"]
