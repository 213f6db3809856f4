"""What a log is made of, and what was written of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.case import Case
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

from ..outcomes.outcome import CaseOutcome


@dataclass(frozen=True)
class LoggedEpisode:
    """A stored episode with its case and what became of it."""

    case: Case
    trajectory: Trajectory
    outcome: CaseOutcome


EpisodesByBenchmark = Iterable[tuple[str, Iterable[LoggedEpisode]]]
"""The episodes of each benchmark, one benchmark after the other, in the order in which they are
stored. None is held, so that a log costs the memory of what it says."""


@dataclass(frozen=True)
class Logged:
    """What was written.

    Attributes:
        files: the log files. notes: what is to be said of them, a sentence each.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What a command prints of it."""
        return [*(f"log: {path}" for path in self.files), *self.notes]

    def as_dict(self) -> dict[str, Any]:
        """What a command's JSON says of it."""
        notes = {"log_notes": list(self.notes)} if self.notes else {}
        return {"logs": [str(path) for path in self.files], **notes}


def task_of(folder: RunFolder, benchmark: str) -> str:
    """The name of a benchmark's task: `phantom_kind` of a suite, else of the cases' source."""
    asked = folder.asked
    if benchmark:
        return f"{asked.get('suite')}_{benchmark}"
    cases = asked.get("cases")
    spec = cases.get("test") if isinstance(cases, dict) else cases
    name = str(spec or "cases").partition(":")[0].partition(",")[0]
    return Path(name).stem
