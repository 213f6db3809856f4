"""`index.json`: what an index holds, what made it, and the hashes of its files."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from medgym.errors import UserError
from medgym.files import read_text
from medgym.storage.atomic import write_atomic

NAME = "index.json"
VERSION = 2
GUARDED = (
    "documents.jsonl", "offsets.npy", "owners.npy", "pairs.npy", "thumbs.u8", "codes.u64",
)  # fmt: skip
"""The files of a part by which the guard knows the documents."""

_BLOCK = 1 << 20


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Space(_Model):
    """The vectors of one embedder.

    Attributes:
        spec: by which it is made again.
        state: of its model, see `embedders.named.state_of`.
        texts, images: whether the vectors of texts, and of images, are there.
        fitted: the folder of what it found in the corpus; None where there is nothing.
    """

    name: str
    spec: str
    version: str
    state: str
    dims: int
    texts: bool
    images: bool
    fitted: str | None = None


class PartEntry(_Model):
    """One part: the documents of one modality, or those without one.

    Attributes:
        folder: in the index.
        graphs: the vectors that have a graph for searching: the space and what it is of, and the
            share of the ten nearest that it finds, against an exact search.
    """

    modality: str | None
    folder: str
    documents: int
    images: int
    pairs: int
    graphs: dict[str, float] = {}


class RiskBound(_Model):
    """How many documents are handed out so that the risk stays under `alpha`, see `risk.py`."""

    k: int
    alpha: float
    delta: float
    loss: str
    cases: str
    count: int
    risks: dict[int, float]
    p_values: dict[int, float]


class Manifest(_Model):
    """What `index.json` says.

    Attributes:
        sources: what it was built of: name, kind, hash, documents.
        left_out: how many documents could not be taken, by reason, and the first of each.
        libraries: the versions of what made it.
        files: the sha256 of each file.
    """

    version: int
    medgym: str
    sources: tuple[dict[str, Any], ...]
    documents: int
    cases: int
    left_out: dict[str, tuple[int, str]]
    spaces: tuple[Space, ...]
    parts: tuple[PartEntry, ...]
    libraries: dict[str, str]
    files: dict[str, str]
    calibration: RiskBound | None = None

    @property
    def state(self) -> str:
        """What tells this index from another one: a short hash of all that it says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an index.

    Raises:
        UserError: there is no index, it is of another version, or damaged.
    """
    path = folder / NAME
    if not path.is_file():
        raise UserError(
            f"{folder} holds no index; fix: write one by medgym index build ... --out {folder}"
        )
    again = f"fix: build it again by medgym index build ... --out {folder}"
    try:
        found = json.loads(read_text(path))
        if isinstance(found, dict) and found.get("version") != VERSION:
            raise UserError(f"{folder} is an index of another version of medgym; {again}")
        return Manifest.model_validate(found)
    except (ValueError, ValidationError) as error:
        raise UserError(f"{path} is damaged; {again}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `index.json`, whole or not at all."""
    write_atomic(folder / NAME, (manifest.model_dump_json(indent=2) + "\n").encode())


def hashes_of(folder: Path) -> dict[str, str]:
    """The sha256 of each file in a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hash_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME
    }


def check_files(folder: Path, manifest: Manifest) -> None:
    """That the files are those that were built: what the guard reads by its hash, vectors by their
    number, since they may be many gigabytes.

    Raises:
        ValueError: one is missing, or is another one.
    """
    counts = {
        f"{part.folder}/{of}-{space.name}.f32": 4 * space.dims * count
        for part in manifest.parts
        for space in manifest.spaces
        for of, count in (("texts", part.documents), ("images", part.images))
    }
    for name, known in manifest.files.items():
        path = folder / name
        if name in counts:
            same = path.is_file() and path.stat().st_size == counts[name]
        elif path.name in GUARDED:
            same = path.is_file() and hash_of(path) == known
        else:
            same = path.is_file()
        if not same:
            raise ValueError(f"{name} is not the file that was built")


def hash_of(path: Path) -> str:
    """The sha256 of a file."""
    whole = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            whole.update(block)
    return whole.hexdigest()
