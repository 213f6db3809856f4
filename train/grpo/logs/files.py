"""The files that GRPO writes while it trains: trajectories by checkpoints, metrics by steps."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import TrainerCallback

from medgym.cases import Case
from medgym.progress import Advance
from medgym.storage.atomic import append_line, remove, write_atomic
from medgym.storage.json_files import read_lines
from medgym.storage.layout import Place
from medgym.storage.trajectories import TrajectoryStore
from medgym.trajectory import Trajectory

from ...recipe.evaluating import EVALUATED

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

SHOWN = {"reward": "reward", "accuracy": "accuracy", "held out": EVALUATED}
"""What the progress bar shows, and under which names it is logged."""


class KeptTrajectories:
    """Trajectories of training: at each checkpoint one Parquet part, named by its last step.

    The trainer has a part written before each checkpoint, whatever asks for it, so that a
    checkpoint never lacks what led to it; parts beyond the last checkpoint belong to steps that a
    resumed run plays again.
    """

    def __init__(self, folder: Path) -> None:
        self._store = TrajectoryStore(folder)
        self._waiting: list[Trajectory] = []

    def forget_after(self, step: int) -> None:
        """Drop parts of steps that a resumed run plays again."""
        for part in self._store.parts():
            if int(part.stem.removeprefix("part-")) > step:
                remove(part)

    def add(self, step: int, pairs: Sequence[tuple[Case, Trajectory]]) -> None:
        """Take what a step played."""
        self._waiting += [trajectory for _, trajectory in pairs]

    def write_all(self, step: int, trajectories: Sequence[Trajectory]) -> None:
        """Write a whole part at once."""
        self._store.write(trajectories, number=step)

    def write(self, step: int) -> None:
        """Write what was played up to a step."""
        self._store.write(self._waiting, number=step)
        self._waiting = []


class MetricsFile(TrainerCallback):
    """One JSON line a step into `metrics.jsonl`, one for each evaluation, and the progress bar.

    A step that learns again from what an earlier one played has a line without figures of playing.
    """

    def __init__(self, place: Place, done: int, advance: Advance) -> None:
        self._path = place.metrics
        self._advance = advance
        self._done = done
        rows = read_lines(self._path) if self._path.exists() else []
        kept = [json.dumps(row) for row in rows if row["step"] <= done]
        write_atomic(self._path, "".join(line + "\n" for line in kept).encode())

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: dict[str, float | None] | None = None,
        **_: object,
    ) -> None:
        # The trainer also logs the seconds of a whole training, which is no step.
        if not logs or not {"loss", EVALUATED} & logs.keys():
            return
        # TRL logs None for what a step has no figure of, as where all episodes were masked.
        row = {k: float(v) for k, v in logs.items() if v is not None}
        append_line(self._path, json.dumps({"step": state.global_step} | row))
        shown = {name: row[key] for name, key in SHOWN.items() if key in row}
        self._advance(state.global_step - self._done, **shown)
        self._done = state.global_step
