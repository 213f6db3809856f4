"""Trajectories and images on disk: Parquet parts, and each image once, under its content's hash.

Writing is atomic (`medgym.storage.atomic`). A reader never sees half a file; a killed writer leaves
at most a file `.tmp-*`, which nothing reads.
"""

import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from medgym.arrow_columns import table_of
from medgym.errors import UserError, missing_library
from medgym.imaging.study import Slab, Window
from medgym.messages import ImagePart
from medgym.png import png_bytes, png_image
from medgym.storage.atomic import check_writable, write_atomic
from medgym.storage.parts import Part, part_bytes, part_number, readable
from medgym.storage.plain import plain
from medgym.trajectory import Branch, Fork, ImageUse, Look, Node, Trajectory

if TYPE_CHECKING:
    import datasets
    import pandas
    import pyarrow


class ImageStore:
    """PNG files `ab/abcd….png` named by the sha256 of their pixels, each written once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _file(self, sha256: str) -> Path:
        return self.path / sha256[:2] / f"{sha256}.png"

    def put(self, part: ImagePart) -> str:
        """Store an image unless its content is there already; returns its hash."""
        if not self.has(part.sha256):
            self.put_png(part.sha256, png_bytes(part.image))
        return part.sha256

    def has(self, sha256: str) -> bool:
        """Whether an image of that hash is there; an empty file is none."""
        return _has_content(self._file(sha256))

    def names(self) -> set[str]:
        """The hashes of all images that are there; files without content are none."""
        found = self.path.glob("??/*.png")
        return {path.stem for path in found if _has_content(path)}

    def put_png(self, sha256: str, png: bytes) -> None:
        """Store an encoded image under its hash, which `get` will hold it to."""
        if not self.has(sha256):
            write_atomic(self._file(sha256), png)

    def take(self, sha256: str, store: "ImageStore") -> None:
        """Have an image that another store holds: as a hard link, or else as a copy.

        Raises:
            UserError: it is not in the other store.
            OSError: it cannot be written.
        """
        if self.has(sha256):
            return
        source, file = store._file(sha256), self._file(sha256)
        if not _has_content(source):
            raise store._lacks(sha256)
        check_writable(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            if source.is_symlink():
                raise OSError("a second link to a link would not outlive what it leads to")
            os.link(source, file)
        except OSError:  # another disk, or a file system without links
            self.put_png(sha256, source.read_bytes())

    def _lacks(self, sha256: str) -> UserError:
        return UserError(f"no image {sha256[:12]}… in {self.path}; fix: copy the run's images/")

    def get(self, sha256: str) -> Image.Image:
        """The image of that hash, checked against it.

        Raises:
            UserError: it is not in the store, or its pixels are no longer those of its name.
        """
        file = self._file(sha256)
        if not file.is_file():
            raise self._lacks(sha256)
        damaged = UserError(f"{file} does not hold the pixels of its name; fix: restore it")
        try:
            return png_image(file, sha256)
        except Exception as error:  # decoders raise what they like
            raise damaged from error


def _has_content(path: Path) -> bool:
    """Whether a path leads to a file that is not empty."""
    try:
        about = path.stat()
    except OSError:  # also where a link leads nowhere
        return False
    return stat.S_ISREG(about.st_mode) and about.st_size > 0


class TrajectoryStore:
    """Trajectories as `part-00000.parquet`, `part-00001.parquet`, … in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def parts(self) -> list[Path]:
        """The parts written so far, in order.

        Raises:
            UserError: a file has almost the name of a part, such as a copy of one.
        """
        return sorted(self.path.glob("part-*.parquet"), key=part_number)

    def write(self, trajectories: Sequence[Trajectory], number: int | None = None) -> Path | None:
        """Write one part, by default after the last one; nothing is written for no trajectories."""
        if not trajectories:
            return None
        rows = [_row(t) for t in trajectories]
        table = table_of(rows, _schema(places=any(map(_has_places, rows))))
        if number is None:
            last = self.parts()[-1:]
            number = part_number(last[0]) + 1 if last else 0
        path = self.path / f"part-{number:05d}.parquet"
        write_atomic(path, part_bytes(table))
        return path

    def __len__(self) -> int:
        """How many there are; errors as of `__iter__`."""
        return sum(len(Part(path)) for path in self.parts())

    def __iter__(self) -> Iterator[Trajectory]:
        """All trajectories, part by part.

        Raises:
            UserError: a part is damaged, or of another format.
        """
        for path in self.parts():
            yield from trajectories_of(Part(path))

    def dataset(self) -> "datasets.Dataset":
        """The rows as a `datasets.Dataset` (needs the extra `train`).

        It is memory-mapped, unless the parts were written by versions with different columns.

        Raises:
            UserError: nothing is stored, a part is damaged, or the library is missing.
        """
        try:
            from datasets import Dataset
        except ModuleNotFoundError as error:
            raise missing_library(error) from error
        self._require_parts()
        parts = self.parts()
        schemas = [Part(path).schema for path in parts]
        # The library opens paths by name, and takes only names in UTF-8.
        unnameable = str(self.path).encode("utf-8", "replace").decode() != str(self.path)
        if unnameable or any(schema != schemas[0] for schema in schemas):
            return Dataset(self.table())
        made: datasets.Dataset = Dataset.from_parquet([str(part) for part in parts])
        return made

    def table(self) -> "pyarrow.Table":
        """The rows as a `pyarrow.Table`, one trajectory a row; `terms` is a JSON text.

        Raises:
            UserError: nothing is stored, or a part is damaged.
        """
        import pyarrow

        self._require_parts()
        tables = [Part(path).table() for path in self.parts()]
        return pyarrow.concat_tables(tables, promote_options="permissive")

    def frame(self) -> "pandas.DataFrame":
        """The rows as a pandas frame, one trajectory a row (needs the extra `frames`).

        Raises:
            UserError: nothing is stored, a part is damaged, or pandas is missing.
        """
        try:
            import pandas  # noqa: F401 - pyarrow needs it
        except ModuleNotFoundError as error:
            raise missing_library(error) from error
        frame = self.table().to_pandas()
        frame["terms"] = frame["terms"].map(json.loads)
        return frame

    def _require_parts(self) -> None:
        if not self.parts():
            raise UserError(f"no trajectories in {self.path}; fix: check the run's folder")


def trajectories_of(part: Part) -> Iterator[Trajectory]:
    """The trajectories of a part; `UserError` where its rows are no trajectories."""
    with readable(part.path):
        rows = part.table().to_pylist()
    for row in rows:
        with readable(part.path):
            trajectory = _trajectory(row)
        yield trajectory


def save(trajectories: Iterable[Trajectory], folder: Path) -> int:
    """Write trajectories into a run's folder as one part; returns how many."""
    kept = list(trajectories)
    TrajectoryStore(folder / "trajectories").write(kept)
    return len(kept)


def _has_places(row: dict[str, Any]) -> bool:
    """Whether a look is of a study of many images, or in a window."""
    records = (row, *(branch["record"] for branch in row["branches"]))
    return any(len(look) > len(_LOOK) for record in records for look in record["looks"])


_LOOK = ("tool", "image", "box_px", "gain")


def _schema(*, places: bool) -> "pyarrow.Schema":
    """The columns; those of a look's plane, index, slab and window where a look has them."""
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    image = pa.struct({"sha256": pa.string(), "view": pa.int32(), "tokens": pa.int32()})
    node = pa.struct(
        {
            "parent": pa.int32(),
            "role": pa.string(),
            "text": pa.string(),
            "token_ids": ids,
            "loss_mask": pa.list_(pa.int8()),
            "logprobs": pa.list_(pa.float64()),
            "images": pa.list_(image),
            "prompt_hash": pa.string(),
        }
    )
    kinds = (pa.string(), pa.int32(), pa.list_(pa.float64(), 4), pa.float64())
    looked = dict(zip(_LOOK, kinds, strict=True))
    if places:
        window = {"centre": pa.float64(), "width": pa.float64(), "function": pa.string()}
        looked |= {
            "plane": pa.string(),
            "index": pa.int32(),
            "slab": pa.struct({"count": pa.int32(), "how": pa.string()}),
            "window": pa.struct({**window, "inverted": pa.bool_()}),
        }
    look = pa.struct(looked)
    played = {
        "case_id": pa.string(),
        "policy": pa.string(),
        "seed": pa.int64(),
        "member": pa.int32(),
        "kind": pa.string(),
        "vision_token_ids": ids,
        "answer": pa.string(),
        "correct": pa.bool_(),
        "reward": pa.float64(),
        "terms": pa.string(),
        "terminated": pa.bool_(),
        "truncated": pa.bool_(),
        "looks": pa.list_(look),
        "calls": pa.list_(pa.string()),
        "failed_calls": pa.int32(),
        "malformed": pa.int32(),
        "faults": pa.list_(pa.string()),
        "failure": pa.string(),
        "version": pa.string(),
        "system": pa.string(),
        "question": pa.string(),
        "options": pa.list_(pa.string()),
        "gold": pa.string(),
        "case_hash": pa.string(),
        "prompt_tokens": pa.int64(),
        "completion_tokens": pa.int64(),
        "cached_tokens": pa.int64(),
    }
    branch = pa.struct(
        {
            "role": pa.string(),
            "leaf": pa.int32(),
            "round": pa.int32(),
            "seconds": pa.float64(),
            "record": pa.struct(played),
        }
    )
    fork = pa.struct(
        {"member": pa.int32(), "turn": pa.int32(), "nodes": pa.int32(), "prefix": pa.string()}
    )
    whole = {"nodes": pa.list_(node), "branches": pa.list_(branch), "fork": fork}
    return pa.schema({**played, **whole})


def _row(trajectory: Trajectory) -> dict[str, Any]:
    row: dict[str, Any] = plain(trajectory)
    # Terms differ from rubric to rubric, which a struct column cannot: they travel as JSON.
    for each in (row, *(branch["record"] for branch in row["branches"])):
        each["terms"] = json.dumps(each["terms"])
    return row


def _look(row: dict[str, Any]) -> Look:
    known: dict[str, Any] = {name: value for name, value in row.items() if value is not None}
    for name, kind in (("slab", Slab), ("window", Window)):
        if name in known:
            known[name] = kind(**known[name])
    return Look(**{**known, "box_px": tuple(row["box_px"])})


def _trajectory(row: dict[str, Any]) -> Trajectory:
    nodes = tuple(
        Node(
            parent=node["parent"],
            role=node["role"],
            text=node["text"],
            token_ids=tuple(node["token_ids"]),
            loss_mask=tuple(node["loss_mask"]),
            logprobs=tuple(node["logprobs"]),
            images=tuple(ImageUse(**image) for image in node["images"]),
            prompt_hash=node["prompt_hash"],
        )
        for node in row.pop("nodes", ())
    )
    looks = tuple(map(_look, row.pop("looks")))
    terms = json.loads(row.pop("terms"))
    fork = row.pop("fork", None)  # which runs of before there were forks have not
    for name in ("vision_token_ids", "calls", "faults", "options"):
        row[name] = tuple(row.get(name, ()))  # runs of before there were options have none
    branches = tuple(
        Branch(**{**branch, "record": _trajectory(branch["record"])})
        for branch in row.pop("branches", ())
    )
    made = {"nodes": nodes, "looks": looks, "terms": terms, "branches": branches}
    return Trajectory(**made, fork=None if fork is None else Fork(**fork), **row)
