"""The end of a training run whose policy goes blind: it may earn as much as before."""

from medgym.errors import RunError
from medgym.metrics.sight import CONCLUSIONS, Sight

FEW = 4
"""Answers from which on a single look says that a model does not see; fewer may be chance."""


class Blind(RunError):
    """The model does not see: what it writes does not depend on its images."""


class BlindnessCheck:
    """Stops a run that goes blind.

    Args:
        floor: nats by which conclusions must change without their images, on average.
        patience: checks in a row that may fall below it.
    """

    def __init__(self, floor: float, patience: int) -> None:
        self._floor = floor
        self._patience = patience
        self._below = 0

    def see(self, seen: Sight, *, first: bool = False) -> None:
        """Take the figures of one check.

        Args:
            first: whether it is of the model before its first step.

        Raises:
            Blind: not a single token moved, or conclusions stayed below the floor: too often, or
                every single one of a model that has not learned yet.
        """
        if seen.still:
            raise Blind(
                "the model is blind: not one token that it wrote depends on its images; fix: run "
                "medgym doctor on the model and see that image features reach its language model"
            )
        if seen.moved is None:
            return
        concluded = [c for c in (each.of(CONCLUSIONS) for each in seen.changes) if c is not None]
        if first and len(concluded) >= FEW and all(change < self._floor for change in concluded):
            raise Blind(
                f"the model is as good as blind before it learns: each of {len(concluded)} answers "
                f"changes by less than {self._floor:g} nats with other images or none; fix: train "
                "the projector and the vision tower first, or lower [sight] floor"
            )
        self._below = self._below + 1 if seen.moved < self._floor else 0
        if self._below >= self._patience:
            raise Blind(
                f"the model went blind: {self._below} times in a row its answers changed by less "
                f"than {self._floor:g} nats ({seen.moved:.2g} the last time) with other images or "
                "none; fix: go back to an earlier adapter, reward looking, or lower [sight] floor"
            )
