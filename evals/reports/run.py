"""A run as its page sees it: what was asked, its figures, and the outcome of each episode."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.storage.layout import Place
from medgym.storage.results import RESULTS, read_results
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore

from ..outcomes.outcome import CaseOutcome
from ..outcomes.packed import PackedRows
from ..outcomes.stored import outcomes_of, run_and_policy


@dataclass(frozen=True)
class ReportedRun:
    """A run that is shown.

    Attributes:
        name: what it is called on the page. folder: where it lies.
        policy: of a training the judged policy whose episodes are shown; else empty.
        asked, manifest, results: of the run; `results` is empty where it has none.
        outcomes: of its episodes, each case by one way of playing: what has changed cases, or plays
            the same ones again without tools, is in the figures only. without: what is left out
            for that, or why there are none.
    """

    name: str
    folder: RunFolder
    policy: str
    asked: Mapping[str, Any]
    manifest: Mapping[str, Any]
    results: Mapping[str, Any]
    outcomes: Collection[CaseOutcome]
    without: str

    @classmethod
    def open(cls, named: str, outcomes: Collection[CaseOutcome] = ()) -> "ReportedRun":
        """The run of a folder, or of a training `FOLDER:POLICY`.

        Args:
            outcomes: of its episodes, where they are known; else they are read.

        Raises:
            UserError: it is no run, or it has neither figures nor episodes that can be judged.
        """
        folder, policy = run_and_policy(named)
        results = read_results(folder.path) if (folder.path / RESULTS).exists() else {}
        without = ""
        try:
            outcomes, without = _once(outcomes or outcomes_of(named), results.get("benchmarks", {}))
        except UserError as error:
            if not results:
                raise
            without = str(error)
        asked: Mapping[str, Any] = {}
        with suppress(UserError):  # the page shows the figures nevertheless
            asked = folder.asked
        manifest = folder.manifest | {"status": folder.status}
        return cls(named.rstrip("/"), folder, policy, asked, manifest, results, outcomes, without)

    @property
    def benchmarks(self) -> dict[str, Collection[CaseOutcome]]:
        """The outcomes of each benchmark; of one that is no suite, all under an empty name."""
        counts = Counter(each.benchmark for each in self.outcomes)
        return {name: _OfBenchmark(self.outcomes, name, n) for name, n in counts.items()}

    def parts(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The benchmarks of its results by name; all under an empty name where it is no suite."""
        yield from (self.results.get("benchmarks") or {"": self.results}).items()

    def judgements(self) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
        """(benchmark, policy, sampled or greedy, judgement) of each figure of its results."""
        for benchmark, part in self.parts():
            for policy, ways in part.get("policies", {}).items():
                for way, judgement in ways.items():
                    yield benchmark, policy, way, judgement

    def store(self, benchmark: str) -> tuple[str, TrajectoryStore]:
        """The episodes of a benchmark: the path of their store in the run, and the store."""
        path = self.folder.path
        if benchmark:
            path = path / "judged" / benchmark
        elif self.policy:
            path = Place(path).judged(self.policy)
        else:
            path = path / "trajectories"
        return path.relative_to(self.folder.path).as_posix(), TrajectoryStore(path)


def _once(
    outcomes: Collection[CaseOutcome], order: Iterable[str]
) -> tuple[Collection[CaseOutcome], str]:
    """The outcomes without those of benchmarks that change cases (`ID~VARIANT`) or play those of
    an earlier one again, and how many benchmarks these are.

    Args:
        order: the benchmarks in the order in which they were asked for.
    """
    if len({each.benchmark for each in outcomes}) < 2:
        return outcomes, ""
    cases: dict[str, set[str]] = {name: set() for name in order}
    for each in outcomes:
        cases.setdefault(each.benchmark, set()).add(each.case)
    kept: set[str] = set()
    seen: set[str] = set()
    for name, its in cases.items():
        if its and seen.isdisjoint(its) and not any("~" in case for case in its):
            kept.add(name)
            seen |= its
    left = sum(bool(its) for its in cases.values()) - len(kept)
    if not kept or not left:
        return outcomes, ""
    said = (
        f"{left} of its benchmarks play cases again, changed or in another way. They are in the "
        "headline and in tables of their own; the other sections leave them out"
    )
    return PackedRows(each for each in outcomes if each.benchmark in kept), said


@dataclass(frozen=True)
class _OfBenchmark(Collection[CaseOutcome]):
    """The outcomes of one benchmark among all, which may be packed: none is held."""

    outcomes: Collection[CaseOutcome]
    name: str
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[CaseOutcome]:
        return (each for each in self.outcomes if each.benchmark == self.name)

    def __contains__(self, outcome: object) -> bool:
        return any(each == outcome for each in self)


def short_names(paths: list[str]) -> list[str]:
    """Names by which runs are told apart: the last parts of their paths, as few as do."""
    for parts in range(1, 6):
        short = ["/".join(Path(path).parts[-parts:]) for path in paths]
        if len(set(short)) == len(set(paths)):
            return short
    return paths
