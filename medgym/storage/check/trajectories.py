"""The trajectories of a run: parts, hashes, invariants, counts, and which images they show."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgym.errors import RunError, UserError
from medgym.storage.parts import Part, part_number
from medgym.storage.run_folder import content
from medgym.storage.trajectories import trajectories_of
from medgym.trajectory import Trajectory, validate

from .report import Damage, RunRow, brief, first
from .walk import Contents

UNKEPT = "trajectories/judge"
"""How stores begin whose images a run does not keep: evaluations in training."""


@dataclass
class Stored:
    """What the parts of a run hold.

    Attributes:
        count, parts: trajectories that were read, and parts. unverified: parts without a hash.
        unreadable, broken, repeated: parts that cannot be read; rows that break an invariant; rows
            of episodes that are there twice.
        shown: for each run, the images that its episodes show, and in which rows of which parts.
        sums: for each run and store, how many trajectories there are that a manifest may count,
            and the hash of their content.
    """

    count: int = 0
    parts: int = 0
    unverified: list[Path] = field(default_factory=list)
    unreadable: list[Damage] = field(default_factory=list)
    broken: list[Damage] = field(default_factory=list)
    repeated: list[Damage] = field(default_factory=list)
    shown: dict[Path, dict[str, list[tuple[Path, int]]]] = field(default_factory=dict)
    sums: dict[tuple[Path, str], tuple[int, int]] = field(default_factory=dict)


def read_stored(found: Contents, once: set[Path], advance: Callable[[], object]) -> Stored:
    """Read all parts of a run's folder.

    Args:
        found: what is in the folder.
        once: the runs in which no episode may be there twice.
    """
    stored = Stored()
    keys: dict[Path, set[Any]] = defaultdict(set)
    for path in found.parts:
        home = found.home(path)
        store = path.parent.relative_to(home).as_posix()
        stored.parts += 1
        try:
            part_number(path)
            part = Part(path)
            rows = list(trajectories_of(part))
        except UserError as error:
            stored.unreadable.append(Damage(path, _said(error, path)))
            advance()
            continue
        stored.count += len(rows)
        if not part.verified:
            stored.unverified.append(path)
        shown = stored.shown.setdefault(home, {})
        for number, trajectory in enumerate(rows):
            said = _broken(trajectory)
            if said:
                stored.broken.append(Damage(path, said, rows=(number,)))
            key = (store, trajectory.case_id, trajectory.seed, trajectory.member)
            if home in once and key in keys[home]:
                what = f"{trajectory.case_id}#{trajectory.member} is there twice"
                stored.repeated.append(Damage(path, what, rows=(number,)))
            keys[home].add(key)
            if not store.startswith(UNKEPT):
                for sha256 in _images(trajectory):
                    shown.setdefault(sha256, []).append((path, number))
        if store == "trajectories" or store.startswith("judged/"):  # what a manifest may count
            count, total = stored.sums.get((home, store), (0, 0))
            more, digest = content(rows)
            value = int(digest.rpartition(":")[2], 16)
            stored.sums[home, store] = (count + more, (total + value) % 2**128)
        advance()
    return stored


def stored_rows(folder: Path, stored: Stored) -> Iterator[RunRow]:
    """The rows of the report that are about trajectories, but for counts and images."""
    figure = f"{stored.count:,} in {stored.parts} {_parts(stored.parts)}"
    if stored.unreadable:
        said = f"{len(stored.unreadable)} of {stored.parts} damaged"
        yield RunRow("parts", "fail", f"{said}: {first(folder, stored.unreadable)}")
    elif stored.unverified:
        count = len(stored.unverified)
        older = f"{count} {_parts(count)} of an older medgym without a hash"
        yield RunRow("parts", "warn", f"{figure}, {older}: not verified")
    elif stored.parts:
        yield RunRow("parts", "pass", f"{figure}, each with the hash of its bytes")
    else:
        yield RunRow("parts", "warn", "no trajectories yet")
    if stored.broken:
        yield RunRow("invariants", "fail", brief([each.what for each in stored.broken]))
    elif stored.count:
        yield RunRow("invariants", "pass", f"hold in {stored.count:,} trajectories")
    if stored.repeated:
        yield RunRow("episodes", "fail", brief([each.what for each in stored.repeated]))


def _parts(count: int) -> str:
    return "part" if count == 1 else "parts"


def _broken(trajectory: Trajectory) -> str:
    try:
        validate(trajectory)
    except (RunError, IndexError, TypeError, ValueError) as error:
        return str(error)
    return ""


def _images(trajectory: Trajectory) -> set[str]:
    return {use.sha256 for node in trajectory.nodes for use in node.images}


def _said(error: UserError, path: Path) -> str:
    """What an error says of a file, without its path and its fix."""
    return str(error).removeprefix(f"{path} ").partition("; fix: ")[0]
