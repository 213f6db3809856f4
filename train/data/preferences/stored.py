"""The episodes of a stored run, group by group, without holding the whole run."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medgym.errors import UserError
from medgym.storage.layout import Place
from medgym.storage.pair_rows import is_pair_folder
from medgym.storage.parts import Part
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore, trajectories_of
from medgym.trajectory import Trajectory


class GroupKey(NamedTuple):
    """Which episodes were rolled out together: of one case, by one version of a policy."""

    case_id: str
    case_hash: str
    seed: int
    version: str


class StoredGroups:
    """The groups of a run: of a training those that GRPO rolled out, else all its trajectories.

    Args:
        path: the run's folder.

    Attributes:
        folder: the run.
        sizes: how many episodes each group has that did not fail.
        kinds: how many episodes are of each kind (`Trajectory.kind`).

    Raises:
        UserError: there is no run, it has no trajectories, or they are consultations or pairs.
    """

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder.open(path)
        if is_pair_folder(path):  # what builders made would be taken for what was played
            raise UserError(f"{path} holds pairs, not a run; fix: name the run that they are of")
        rollouts = TrajectoryStore(Place(path).rollouts)
        self._store = rollouts if rollouts.parts() else self.folder.trajectories
        self.sizes: Counter[GroupKey] = Counter()
        self.kinds: Counter[str] = Counter()
        parts = self._store.parts()
        for part in map(Part, parts):
            names = set(part.schema.names)
            wanted = ("case_id", "case_hash", "seed", "version", "kind", "failure")
            for row in part.table([name for name in wanted if name in names]).to_pylist():
                self.kinds[row["kind"]] += 1
                if row["failure"] is None:
                    self.sizes[_key(row)] += 1
        if not self.kinds:
            raise UserError(
                f"there are no trajectories in {path}; fix: name the folder of a run that has "
                "rolled some out"
            )
        if _has_branches(Part(parts[0])):
            raise UserError(
                f"{path} holds consultations, and pairs are of one policy; fix: name a run of a "
                "single policy"
            )

    def __len__(self) -> int:
        return len(self.sizes)

    def case_ids(self) -> list[str]:
        """The ids of the cases that were played, in the order of their first episodes."""
        return list(dict.fromkeys(key.case_id for key in self.sizes))

    def groups(self) -> Iterator[tuple[GroupKey, tuple[Trajectory, ...]]]:
        """Every group with its episodes in the order of their members, once all of it is read."""
        waiting: defaultdict[GroupKey, list[Trajectory]] = defaultdict(list)
        for path in self._store.parts():
            for each in trajectories_of(Part(path)):
                if each.failure is not None:
                    continue
                key = GroupKey(each.case_id, each.case_hash, each.seed, each.version)
                waiting[key].append(each)
                if len(waiting[key]) == self.sizes[key]:
                    yield key, tuple(sorted(waiting.pop(key), key=lambda t: t.member))


def _key(row: dict[str, object]) -> GroupKey:
    return GroupKey(
        str(row["case_id"]),
        str(row.get("case_hash") or ""),
        int(str(row["seed"])),
        str(row.get("version") or ""),
    )


def _has_branches(part: Part) -> bool:
    """Whether a part holds consultations."""
    if "branches" not in part.schema.names:
        return False
    import pyarrow.compute

    column = part.table(["branches"])["branches"]
    lengths = pyarrow.compute.list_value_length(column)
    return bool(pyarrow.compute.any(pyarrow.compute.greater(lengths, 0)).as_py())
