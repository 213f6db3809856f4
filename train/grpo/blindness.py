"""The end of a training run whose policy goes blind: it may earn as much as before."""

from medgym.errors import RunError
from medgym.metrics.sight import Sight


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

    def see(self, seen: Sight) -> None:
        """Take the figures of one check.

        Raises:
            Blind: not a single token moved, or conclusions stayed below the floor too often.
        """
        if seen.still:
            raise Blind(
                "the model is blind: not one token that it wrote depends on its images; fix: run "
                "medgym doctor on the model and see that image features reach its language model"
            )
        if seen.moved is None:
            return
        self._below = self._below + 1 if seen.moved < self._floor else 0
        if self._below >= self._patience:
            raise Blind(
                f"the model went blind: {self._below} times in a row its answers changed by less "
                f"than {self._floor:g} nats ({seen.moved:.2g} the last time) with other images or "
                "none; fix: go back to an earlier adapter, reward looking, or lower [sight] floor"
            )
