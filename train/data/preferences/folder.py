"""A folder of pairs: self-contained, so that it may be moved, and kept beside no run.

    pairs.jsonl            one line for each pair, with its provenance (`storage.pair_rows`)
    cases.jsonl            the cases of the pairs, with their gold
    trajectories/, images/ the episodes of the pairs, each once, and the images that they show
    recipe.toml, manifest.json

It is a run's folder as well: `medgym view`, `medgym check run` and `medgym.open_run` read it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medgym.cases import Case, CaseKey, read_cases, write_cases
from medgym.errors import UserError
from medgym.storage.atomic import write_atomic
from medgym.storage.pair_rows import (
    AGAIN,
    CASES,
    PAIRS,
    SIDES,
    Row,
    episodes_reader,
    is_pair_folder,
    read_pair_rows,
)
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import ImageStore
from medgym.trajectory import Trajectory

from .pair import Pair

PART = 256
"""Episodes that are written together, or a few more: those of a case stay in one part."""


class PairFolder:
    """Pairs on disk, read when they are asked for.

    Attributes:
        path: the folder.
        rows: the lines of `pairs.jsonl`, one for each pair, in order.
        images: the images that the episodes show.
    """

    def __init__(self, path: Path, rows: Sequence[Row]) -> None:
        self.path = path
        self.rows = rows
        self.images = ImageStore(path / "images")
        self._episodes = episodes_reader(path)

    @classmethod
    def open(cls, path: Path | str) -> "PairFolder":
        """A folder of pairs that is there.

        Raises:
            UserError: it is none, or is not finished.
        """
        path = Path(path)
        folder = RunFolder.open(path)
        if not is_pair_folder(path):
            unfinished = folder.asked.get("command") == "pairs"
            said = "is not finished" if unfinished else "holds a run, not pairs"
            fix = AGAIN if unfinished else f"fix: medgym pairs build {path} --out DIR"
            raise UserError(f"{path} {said} (it has no {PAIRS}); {fix}")
        found = cls(path, read_pair_rows(path))
        wanted = (folder.manifest.get("counts") or {}).get("pairs", len(found))
        if wanted != len(found):
            raise UserError(
                f"{path / PAIRS} has {len(found)} pairs, and the manifest counts {wanted}; {AGAIN}"
            )
        return found

    @classmethod
    def write(
        cls,
        path: Path | str,
        pairs: Iterable[Pair],
        images: ImageStore,
        cases: Mapping[str, Case] | None = None,
        asked: Mapping[str, Any] | None = None,
    ) -> "PairFolder":
        """A new folder of these pairs.

        Args:
            images: where the images of their episodes are.
            cases: the cases of the pairs, by id; those that are given are stored.
            asked: what was asked, for the folder's recipe.

        Raises:
            UserError: the folder holds something already, or an image is not there.
        """
        writer = PairWriter(path, asked or {}, (images,))
        for pair in pairs:
            writer.add((cases or {}).get(pair.case_id), [pair])
        return writer.finish()

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Pair]:
        """The pairs in their order. Their episodes are read part by part."""
        for row in self.rows:
            yield self._pair(row)

    def __getitem__(self, index: int) -> Pair:
        """One pair."""
        return self._pair(self.rows[index])

    @property
    def counts(self) -> dict[str, Any]:
        """What the build came to, as the manifest holds it (`PairCounts`)."""
        counts: dict[str, Any] = RunFolder(self.path).manifest.get("pairs") or {}
        return counts

    def pairs(self) -> list[Pair]:
        """All pairs."""
        return list(self)

    def cases(self) -> dict[str, Case]:
        """The cases of the pairs that were stored with them, by id, with their gold."""
        path = self.path / CASES
        return {case.id: case for case in read_cases(path)} if path.is_file() else {}

    def case_keys(self) -> Iterator[CaseKey]:
        """The key of each case, once; of a case that was not stored, only its id."""
        seen = {row["case"]: row for row in self.rows}
        for row in seen.values():
            yield CaseKey(row["case"], row.get("source", ""), row.get("group", ""))

    def _pair(self, row: Row) -> Pair:
        chosen, rejected = self._episodes(row)
        try:
            return Pair(
                chosen,
                rejected,
                builder=row["builder"],
                why=row["why"],
                score=row["score"],
                shared=row["shared"],
            )
        except KeyError as error:
            raise UserError(f"a line of {self.path / PAIRS} lacks {error}; {AGAIN}") from error


class PairWriter:
    """Writes a folder of pairs, case by case, so that no more than a part is held.

    Args:
        path: of the new folder. asked: what was asked. sources: where images of episodes are;
            those that are in none of them are in the folder already.

    Attributes:
        images: the folder's own images; what a builder makes is put there.
        count: the pairs so far.

    Raises:
        UserError: the folder holds something already, or cannot be written.
    """

    def __init__(
        self, path: Path | str, asked: Mapping[str, Any], sources: Sequence[ImageStore]
    ) -> None:
        self._folder = RunFolder.create(path, {"command": "pairs", **asked})
        self.images = self._folder.images
        self._sources = sources
        self._rows: list[dict[str, Any]] = []
        self._waiting: list[Trajectory] = []
        self._cases: dict[str, Case] = {}
        self._kept: set[str] = set()
        self._part = 0

    @property
    def count(self) -> int:
        """The pairs so far."""
        return len(self._rows)

    def add(
        self,
        case: Case | None,
        pairs: Sequence[Pair],
        runs: Mapping[int, str] | None = None,
    ) -> None:
        """Add pairs of one case; `runs` has the run of an episode by its `id`."""
        places: dict[int, int] = {}
        about = {}
        if case is not None:
            self._cases[case.id] = case
            about = {"source": case.source, "split": case.split, "group": case.group}
        for pair in pairs:
            sides = {}
            for name, episode in zip(SIDES, (pair.chosen, pair.rejected), strict=True):
                if id(episode) not in places:
                    places[id(episode)] = len(self._waiting)
                    self._waiting.append(episode)
                sides[name] = {
                    "part": self._part,
                    "row": places[id(episode)],
                    "run": (runs or {}).get(id(episode)),
                    "seed": episode.seed,
                    "member": episode.member,
                    "version": episode.version,
                }
            self._rows.append(
                {
                    "case": pair.case_id,
                    **about,
                    "builder": pair.builder,
                    "why": pair.why,
                    "score": pair.score,
                    "margin": pair.margin,
                    "shared": pair.shared,
                    **sides,
                }
            )
        if len(self._waiting) >= PART:
            self._flush()

    def pairs(self) -> list[Pair]:
        """The pairs so far, read from the folder."""
        self._flush()
        return PairFolder(self._folder.path, self._rows).pairs()

    def rescore(self, scores: Sequence[float]) -> None:
        """Give each pair so far another score."""
        for row, score in zip(self._rows, scores, strict=True):
            row["score"] = score

    def finish(self, **facts: Any) -> PairFolder:
        """Write what is left, and that the folder is whole; `facts` are for its manifest."""
        self._flush()
        path = self._folder.path
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self._rows)
        if self._cases:
            write_cases(self._cases.values(), path / CASES)
        write_atomic(path / PAIRS, lines.encode("utf-8", "replace"))
        self._folder.finish(**facts)
        counts = {**self._folder.manifest.get("counts", {}), "pairs": len(self._rows)}
        self._folder.note(counts=counts)
        return PairFolder.open(path)

    def _flush(self) -> None:
        if not self._waiting:
            return
        for sha256 in dict.fromkeys(
            use.sha256 for each in self._waiting for node in each.nodes for use in node.images
        ):
            self._keep(sha256)
        self._folder.trajectories.write(self._waiting, number=self._part)
        self._waiting = []
        self._part += 1

    def _keep(self, sha256: str) -> None:
        if sha256 in self._kept:
            return
        self._kept.add(sha256)
        others = self._sources[:-1]
        source = next((each for each in others if each.has(sha256)), self._sources[-1])
        self.images.take(sha256, source)
