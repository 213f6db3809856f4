"""What GRPO writes while it trains: trajectories at each checkpoint, metrics at each step."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from transformers import TrainerCallback

from medgym.cases import Case
from medgym.progress import Advance
from medgym.storage.layout import Place
from medgym.storage.trajectories import TrajectoryStore
from medgym.trajectory import Trajectory

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class StopAt(TrainerCallback):
    """Stops at a step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_: object,
    ) -> None:
        if state.global_step >= self._step:
            control.should_save = args.save_strategy != "no"
            control.should_training_stop = True


class KeptTrajectories(TrainerCallback):
    """Trajectories of training: at each checkpoint one Parquet part, named by its last step.

    A part is written before its checkpoint, so that a checkpoint never lacks what led to it; parts
    beyond the last checkpoint belong to steps that a resumed run plays again.
    """

    def __init__(self, place: Place) -> None:
        self._store = TrajectoryStore(place.rollouts)
        self._waiting: list[Trajectory] = []

    def forget_after(self, step: int) -> None:
        """Drop parts of steps that a resumed run plays again."""
        for part in self._store.parts():
            if int(part.stem.removeprefix("part-")) > step:
                part.unlink()

    def add(self, step: int, pairs: Sequence[tuple[Case, Trajectory]]) -> None:
        """Take what a step played."""
        self._waiting += [trajectory for _, trajectory in pairs]

    def write(self, step: int) -> None:
        """Write what was played up to a step."""
        self._store.write(self._waiting, number=step)
        self._waiting = []

    def on_step_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_: object,
    ) -> None:
        if control.should_save:
            self.write(int(state.global_step))


class MetricsFile(TrainerCallback):
    """One JSON line a step into `metrics.jsonl`, and the progress bar."""

    def __init__(self, place: Place, done: int, advance: Advance) -> None:
        self._path = place.metrics
        self._advance = advance
        kept = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in kept if json.loads(line)["step"] <= done]
        self._path.write_text("".join(line + "\n" for line in kept))

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: dict[str, float | None] | None = None,
        **_: object,
    ) -> None:
        if not logs or "reward" not in logs:
            return
        # TRL logs None for what a step has no figure of, as where all episodes were masked.
        row = {k: float(v) for k, v in logs.items() if v is not None}
        with self._path.open("a") as stream:
            stream.write(json.dumps({"step": state.global_step} | row) + "\n")
        self._advance(1, reward=row.get("reward", 0.0), accuracy=row.get("accuracy", 0.0))
