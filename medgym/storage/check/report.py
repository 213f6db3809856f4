"""What a check of a run finds: a row for each kind of content, and every damage by its file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class RunRow:
    """One row of the report: what was checked, how it went, and the figures."""

    check: str
    verdict: Verdict
    figure: str


@dataclass(frozen=True)
class Damage:
    """Something in a run's folder that is not what was written there.

    Attributes:
        path: the file.
        what: what is wrong with it, in a few words.
        missing: whether there is no file, so that nothing can be set aside.
        rows: of a part that is whole, the rows that are not to be believed; None for the whole
            file.
    """

    path: Path
    what: str
    missing: bool = False
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True)
class RunReport:
    """What was found in a run's folder.

    Attributes:
        folder: the run's.
        rows: of the report, in order.
        damages: in the order of the rows.
        unverified: parts of an older medgym, which have no hash.
        lacking: how many trajectories the run has fewer than its manifest counts; None where their
            count or content is not checked, or is right.
    """

    folder: Path
    rows: tuple[RunRow, ...]
    damages: tuple[Damage, ...]
    unverified: tuple[Path, ...] = ()
    lacking: int | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged. A warning says what cannot be verified."""
        return all(row.verdict != "fail" for row in self.rows)

    def name(self, path: Path) -> str:
        """A file's path within the run."""
        return path.relative_to(self.folder).as_posix()


def first(folder: Path, damages: Sequence[Damage]) -> str:
    """The first of several damages, with its path within the run, and how many more there are."""
    return brief([f"{each.path.relative_to(folder).as_posix()} {each.what}" for each in damages])


def brief(found: Sequence[str]) -> str:
    """The first of several, and how many more there are."""
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0]}{more}"
