"""Where the seconds of a training step go: into playing, into watching, or into learning."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """Seconds since the last reading, and what was done in them.

    Attributes:
        sampled: tokens that the policy wrote in the rows that are trained on.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.sampled = 0
        self._played = self._watched = 0.0

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Rolling out episodes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._played += time.perf_counter() - start

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Measuring the policy, episodes that only the monitor asks for included."""
        start, played = time.perf_counter(), self._played
        try:
            yield
        finally:
            self._watched += time.perf_counter() - start
            self._played = played

    def read(self, seconds: float, steps: int) -> dict[str, float]:
        """The figures of the last steps, as means of a step; the clock begins anew.

        Args:
            seconds: that these steps took, all in all.
        """
        learned = max(seconds - self._played - self._watched, 0.0)
        parts = {"playing": self._played, "watching": self._watched, "learning": learned}
        figures = {f"seconds/{name}": spent / steps for name, spent in parts.items()}
        if self.sampled and self._played:
            figures["tokens_per_second/sampled"] = self.sampled / self._played
        self._begin()
        return figures


class Timed:
    """Mixed into a `GRPOTrainer`: each step's logs say where its seconds went.

    Of several processes the first one's clock counts.
    """

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        self.clock = Clock()
        super().__init__(*args, **kwargs)

    def log(self: Any, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log; TRL has noted the seconds of each step since the last time."""
        took = self._metrics["train"].get("step_time")
        if "loss" in logs and took:
            for name, value in self.clock.read(sum(took), len(took)).items():
                self._metrics["train"][name] = [value]
        super().log(logs, start_time)  # type: ignore[misc]
