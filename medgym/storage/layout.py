"""Where everything lies in the folder of a training run. Folders of older versions are read too.

    stages.json                 seconds of each finished stage
    cold_start/                 the model after its cold start, an ordinary checkpoint
    adapters/ROLE/STEP/         each published version of an adapter
    trained/                    in their place, the whole model that was trained without an adapter
    checkpoints/, tensorboard/, metrics.jsonl, trajectories/grpo/
    judged/POLICY/              the trajectories of the judging
    judged.json, results.json   its figures

What belongs to one of several trained roles has the role's name after a dash, such as
`metrics-triage.jsonl`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from medgym.errors import UserError
from medgym.storage.adapters import Version, final
from medgym.storage.atomic import write_atomic
from medgym.storage.json_files import read_json

ROLE = "policy"
"""The role of a policy that is trained without others: its adapters are in `adapters/policy/`."""

SET_ASIDE = "set-aside"
"""The folder of any run that holds what was found damaged. Nothing reads it."""

COLD_START, TRAINED = "cold_start", "trained"


@dataclass(frozen=True)
class Place:
    """A training run's folder and what lies where in it, for one of its trained roles."""

    folder: Path
    role: str = ROLE

    @property
    def cold_start(self) -> Path:
        """The model after the cold start, as an ordinary checkpoint."""
        return self.folder / COLD_START

    @property
    def whole(self) -> Path:
        """The model that was trained without an adapter."""
        return self._own(TRAINED)

    @property
    def model(self) -> Path:
        """The whole model that the run has trained last: that of GRPO, or after the cold start."""
        return self.whole if self.whole.is_dir() else self.cold_start

    @property
    def imitation(self) -> Path:
        """The checkpoints of the cold start, from which it resumes."""
        return self.folder / "sft"

    @property
    def losses(self) -> Path:
        """One JSON line for each step of the cold start."""
        return self.folder / "cold_start.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The trainer's checkpoints, from which GRPO resumes."""
        return self._own("checkpoints")

    @property
    def metrics(self) -> Path:
        """One JSON line for each step of GRPO."""
        return self._own("metrics").with_suffix(".jsonl")

    @property
    def tensorboard(self) -> Path:
        """The same for TensorBoard."""
        return self._own("tensorboard")

    @property
    def rollouts(self) -> Path:
        """The trajectories of GRPO."""
        return self._own("trajectories/grpo")

    @property
    def evaluations(self) -> Path:
        """The trajectories of the evaluations during GRPO, each part named by its step."""
        return self._own("trajectories/judge")

    @property
    def figures(self) -> Path:
        """The figures of the judging, before `results.json` is written."""
        return self.folder / "judged.json"

    @property
    def results(self) -> Path:
        """What the run comes to: every judged policy, and the seconds of each stage."""
        return self.folder / "results.json"

    def judged(self, policy: str) -> Path:
        """The trajectories of one judged policy."""
        return self.folder / "judged" / policy.replace(":", "-")

    def _own(self, name: str) -> Path:
        return self.folder / (name if self.role == ROLE else f"{name}-{self.role}")

    @property
    def final(self) -> Version | None:
        """The role's adapter, the best or the newest one; None before there is one."""
        return final(self.folder, self.role)

    @property
    def trained(self) -> tuple[Path, Path | None]:
        """The trained policy: a model's folder, and the adapter over it, if there is one.

        Raises:
            UserError: the run has trained nothing yet.
        """
        if self.whole.is_dir():
            return self.whole, None
        found = self.final
        if found is None:
            raise UserError(f"{self.folder} holds no trained policy yet; fix: let the run finish")
        adapter = self.folder / "adapters" / self.role / str(found.step)
        return self.cold_start, adapter

    def stages(self) -> dict[str, float]:
        """Seconds of each finished stage."""
        path = self.folder / "stages.json"
        return read_json(path) if path.exists() else {}

    def reopen(self, *stages: str) -> None:
        """Strike stages from the finished ones: they are done again."""
        left = {name: took for name, took in self.stages().items() if name not in stages}
        write_atomic(self.folder / "stages.json", json.dumps(left, indent=1).encode())

    def finish(self, stage: str, seconds: float) -> None:
        """Write down that a stage is finished."""
        done = self.stages() | {stage: round(seconds, 1)}
        write_atomic(self.folder / "stages.json", json.dumps(done, indent=1).encode())


def base_in_run(adapter: Path) -> Path | None:
    """The base of an adapter that lies in a run's folder, wherever that was moved; else None."""
    run = adapter.resolve().parents[2:3]
    base = Place(run[0]).cold_start if run else None
    return base if base is not None and base.is_dir() else None
