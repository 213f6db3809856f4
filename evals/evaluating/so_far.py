"""What an evaluation has come to so far: the figures beside its progress bar."""

from collections.abc import Mapping

from medgym.commands.printing import percent
from medgym.metrics.rate import RunningRate
from medgym.progress import Figure
from medgym.trajectory import Trajectory

from ..outcomes.outcome import CaseOutcome
from ..spending import Price, Spending
from ..tables import bounds


class SoFar:
    """Accuracy with its interval, tokens, and cost, over all benchmarks.

    Args:
        prices: of models; empty where no cost is wanted.
    """

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._right = RunningRate()
        self._spent = Spending(prices)

    def add(self, outcome: CaseOutcome, trajectory: Trajectory) -> None:
        """Take an episode that has ended."""
        if outcome.is_counted:
            self._right.add(trajectory.correct, outcome.unit)
        self._spent.add(trajectory)

    def figures(self) -> dict[str, Figure]:
        """The figures as `progress` takes them."""
        rate = self._right.rate
        accuracy = f"{percent(rate.value)} ({bounds(rate)})" if rate.n else None
        return {"accuracy": accuracy, **self._spent.figures()}
