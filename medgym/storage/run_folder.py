"""A run's folder: what was asked, what it was done with, and what came out.

    recipe.toml            what was asked, as TOML
    manifest.json          status, versions, commit, seeds, counts, content hashes
    images/ab/abcd….png    every image that was shown, once for each content
    trajectories/          part-00000.parquet, …
    metrics.jsonl, adapters/ROLE/STEP/, results.json, report.png    where the run makes them

A folder belongs to one run: `create` refuses one that holds anything but how the same run began,
so nothing is ever overwritten. Every file is written whole or not at all. One process at a time
writes: it holds a lock (`medgym.storage.lock`). Readers need none. A run that was killed leaves a
manifest whose status is still `running`, and no lock: `RunFolder.status` says that it stopped.
"""

import hashlib
import json
import platform
import subprocess
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import medgym
from medgym.errors import StorageError, UserError
from medgym.messages import Message
from medgym.redaction import redact, redact_toml
from medgym.storage.atomic import write_atomic
from medgym.storage.beginning import begin, refuse_taken
from medgym.storage.disk import is_full
from medgym.storage.lock import Lock, check_place, is_held
from medgym.storage.manifest import FORMAT, RECIPE, read_manifest
from medgym.storage.plain import plain
from medgym.storage.shown_images import require_images
from medgym.storage.trajectories import ImageStore, TrajectoryStore
from medgym.toml import read_toml, toml_source, toml_text
from medgym.trajectory import Trajectory

PACKAGES = (
    "numpy", "pillow", "pydantic", "gymnasium", "pyarrow", "scipy", "scikit-image", "pydicom",
    "python-gdcm", "nibabel", "openslide-python", "av", "bm25s", "torch", "torchvision",
    "transformers", "trl", "peft", "accelerate", "datasets", "ray",
)  # fmt: skip
"""Packages whose versions a manifest names, where they are installed."""


UNCOUNTED = (
    "system", "question", "options", "gold", "case_hash", "prompt_tokens", "completion_tokens",
    "cached_tokens",
)  # fmt: skip
"""Fields of a trajectory that its content hash leaves out: runs of before they existed have the
same hash."""


class RunFolder:
    """The folder of one run.

    Attributes:
        path: where it lies.
        images, trajectories: its stores.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: Lock | None = None
        self.images = ImageStore(path / "images")
        self.trajectories = TrajectoryStore(path / "trajectories")

    @classmethod
    def create(cls, path: Path | str, asked: Mapping[str, Any] | str, **facts: Any) -> "RunFolder":
        """A new folder with its recipe and its first manifest.

        Args:
            path: where; folders above it are made as needed.
            asked: what was asked, as TOML text or as what `toml_text` takes.
            facts: what else the manifest is to say, such as `seeds={"run": 0}`.

        Raises:
            UserError: the folder holds something already, or cannot be written.
        """
        path = Path(path)
        text = redact_toml(asked if isinstance(asked, str) else toml_text(asked))
        refuse_taken(path, text)
        # Slow work comes before the first file: a run may be killed at any moment.
        first = {**provenance(), "status": "running", "started": _now(), **facts}
        folder = cls(path)
        folder._lock = begin(path, text)
        try:
            folder._write(first)
        except OSError as error:
            raise UserError(
                f"cannot write to {path} ({error.strerror}); fix: choose another place"
            ) from error
        return folder

    @classmethod
    def create_or_resume(
        cls, path: Path | str, asked: Mapping[str, Any] | str, **facts: Any
    ) -> "RunFolder":
        """`create`, or resume the interrupted run of the same recipe in that folder.

        Raises:
            UserError: the folder holds a finished run, a run of another recipe, or no run at all;
                or another process is writing into it.
        """
        path = Path(path)
        if not (path / "manifest.json").is_file():
            return cls.create(path, asked, **facts)
        folder = cls.open(path)
        text = redact_toml(asked if isinstance(asked, str) else toml_text(asked))
        differing = _differing(redact(folder.asked), text)
        if differing:
            raise UserError(
                f"{path} holds a run of another recipe; fix: choose another name, or ask for the "
                f"same {', '.join(differing)} as {path / 'recipe.toml'}"
            )
        folder.claim()
        if folder.manifest["status"] != "running":
            raise UserError(f"the run in {path} is done; fix: choose another name or remove it")
        require_images(path)
        return folder

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """A run's folder that exists; `UserError` where that is none."""
        path = Path(path)
        if not (path / "manifest.json").is_file():
            raise UserError(
                f"{path} is no run folder (it has no manifest.json); fix: check the path"
            )
        return cls(path)

    def part(self, name: str) -> "RunFolder":
        """This folder, with the trajectories in another folder of it. It writes under the same
        claim."""
        part = RunFolder(self.path)
        part._lock = self._lock
        part.trajectories = TrajectoryStore(self.path / name)
        return part

    def claim(self) -> None:
        """Become the one process that writes here, until the run is finished, this object is
        no longer referenced, or the process ends. `create` and `create_or_resume` claim already.

        Where a file system has no locks (some network ones), nothing is held and two writers go
        unnoticed; on NFS a machine that vanished holds its lock until the server misses it.

        Raises:
            UserError: another process writes here.
        """
        self._lock = Lock.on(self.path / RECIPE)

    @property
    def recipe(self) -> str:
        """What was asked, as TOML text; `UserError` where it cannot be read."""
        return toml_source(self.path / "recipe.toml")

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked; `UserError` where it cannot be read or is no TOML."""
        return read_toml(self.path / "recipe.toml")[0]

    @property
    def manifest(self) -> dict[str, Any]:
        """What the manifest says now; `UserError` where it is damaged or of something else."""
        return read_manifest(self.path)

    @property
    def status(self) -> str:
        """`done`; `running` while a process writes the run; else `stopped`, and the command that
        made it resumes it. `UserError` where the manifest cannot be read."""
        status = str(self.manifest["status"])
        if status != "running" or is_held(self.path):
            return status
        # It may have ended just now.
        return "stopped" if self.manifest["status"] == "running" else "done"

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest, or replace them; the file is exchanged whole."""
        check_place(self.path)
        self._write({**self.manifest, **facts})

    def finish(self, **facts: Any) -> None:
        """Say that the run is done: its end, and the count and content hash of its trajectories.

        Those of its judging are counted too, by judged policy or benchmark.
        """
        check_place(self.path)
        judged = {path.parent for path in (self.path / "judged").rglob("part-*.parquet")}
        stores = {path.relative_to(self.path).as_posix(): TrajectoryStore(path) for path in judged}
        counts, digests = {}, {}
        for name, store in sorted({"trajectories": self.trajectories, **stores}.items()):
            count, digest = content(store)
            if count:
                counts[name], digests[name] = count, digest
        kept = {"counts": counts, "content": digests} if counts else {}
        self.note(status="done", ended=_now(), **kept, **facts)
        self._lock = None

    def release(self) -> None:
        """Write no more in this process: a run that is not finished is `stopped` from now on."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None

    def write_json(self, name: str, value: Any) -> None:
        """Write a file of the folder as JSON, whole or not at all, without secrets."""
        text = json.dumps(redact(value), indent=2, ensure_ascii=False) + "\n"
        write_atomic(self.path / name, text.encode("utf-8", "replace"))

    def keep_images(self, messages: Sequence[Message]) -> None:
        """Store the images of a conversation; what `collect` takes as `on_messages`.

        Raises:
            StorageError: the disk is full. Other errors may be a file system's moment: they are
                raised as they are, and the episode is tried again.
        """
        try:
            for message in messages:
                for part in message.images:
                    self.images.put(part)
        except OSError as error:
            if not is_full(error):
                raise
            raise StorageError(
                f"{self.path} cannot be written ({error.strerror}); fix: make room, then run the "
                "same command again"
            ) from error

    def chat(self, trajectory: Trajectory) -> dict[str, Any]:
        """A trajectory as a row of a chat data set, as TRL's trainers take it.

        `messages` has a placeholder for each image, `images` the images themselves, in order.
        """
        hashes = trajectory.image_hashes
        return {
            "messages": trajectory.messages(),
            "images": [self.images.get(sha256) for sha256 in hashes],
        }

    def _write(self, manifest: Mapping[str, Any]) -> None:
        self.write_json("manifest.json", manifest)


def provenance() -> dict[str, Any]:
    """What a run is done with: versions of everything that computes, platform, commit."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "format": FORMAT,
        "medgym": medgym.__version__,
        "commit": commit(Path(medgym.__file__).parents[1]),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
    }


def commit(root: Path) -> str | None:
    """A checkout's commit, with `+changes` where files differ from it; None for no checkout."""
    if not (root / ".git").exists():  # an installed package inside the user's own repository
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + "+changes" if changed else head


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def content(trajectories: Iterable[Trajectory]) -> tuple[int, str]:
    """How many trajectories these are, and the hash of their content.

    File format and order do not count: a run that was interrupted has the hash of one that was not.
    Nor does what the case says by itself (`UNCOUNTED`).
    """
    total, count = 0, 0
    for trajectory in trajectories:
        row = plain(trajectory)
        for branch in row["branches"]:
            del branch["seconds"]  # the clock's, not the run's
        for each in (row, *(branch["record"] for branch in row["branches"])):
            for name in UNCOUNTED:
                del each[name]
            if each["fork"] is None:  # as in runs of before there were forks
                del each["fork"]
        line = json.dumps(row, sort_keys=True, separators=(",", ":"))
        digest = hashlib.blake2b(line.encode("utf-8"), digest_size=16).digest()
        total = (total + int.from_bytes(digest, "little")) % 2**128
        count += 1
    return count, f"blake2b-sum:{total:032x}"


def _differing(one: Mapping[str, Any], asked: str) -> list[str]:
    """The keys in which two recipes differ; comments and layout do not count."""
    try:
        other = tomllib.loads(asked)
    except tomllib.TOMLDecodeError:
        return ["text"]
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def open_run(path: Path | str) -> RunFolder:
    """A run's folder, to read: its trajectories lazily as objects, as a data set, as a frame.

        run = medgym.open_run("runs/oracle")
        for trajectory in run.trajectories: ...
        run.trajectories.dataset(); run.trajectories.frame(); run.images.get(sha256)

    Raises:
        UserError: there is no run in that folder.
    """
    return RunFolder.open(path)
