"""Parquet files as columns of text, beside columns that hold images themselves.

Images are never read to list cases. A cell of an image column is what `datasets.Image` writes (a
struct with `bytes` and `path`), the encoded file's bytes, or a list of these.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgym.arrow_columns import column_of
from medgym.errors import UserError
from medgym.files import open_regular
from medgym.imaging.containers.members import held_member
from medgym.imaging.study import ImageRef
from medgym.uris import file_uri

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_BATCH = 10_000


class ParquetImages:
    """A column of images in a Parquet file.

    Args:
        path: the file.
        column: its name.
        counts: how many images each row has, where a cell is a list.
        missing: the rows without an image.
    """

    def __init__(
        self, path: Path, column: str, counts: "pyarrow.Array | None", missing: frozenset[int]
    ) -> None:
        self._path = path
        self.uri = file_uri(path)
        self.column = column
        self._counts = counts
        self._missing = missing

    @property
    def absent(self) -> list[int]:
        """The rows without an image."""
        if self._counts is None:
            return sorted(self._missing)
        return [row for row, count in enumerate(self._counts.to_pylist()) if not count]

    def refs(self, row: int) -> tuple[ImageRef, ...]:
        """The images of a row, from 0."""
        if self._counts is not None:
            count = self._counts[row].as_py() or 0
            names = [f"{self.column}/{row}/{item}" for item in range(count)]
        else:
            names = [] if row in self._missing else [f"{self.column}/{row}"]
        return tuple(ImageRef(uri=self.uri, member=name) for name in names)

    def digest(self, ref: ImageRef) -> str:
        """What says of an image that it is the same as another one: the hash of its file."""
        held = held_member(self._path, ref.member or "")
        held.file.seek(0)
        return "image-" + hashlib.sha256(held.file.read()).hexdigest()[:16]


def columns_of(path: Path) -> tuple[dict[str, ParquetImages], list[str]]:
    """The image columns of a file, and the names of the others.

    Raises:
        UserError: it is no whole Parquet file.
    """
    import pyarrow

    try:
        with _opened(path) as file:
            schema = file.schema_arrow
            for name in schema.names:
                if schema.names.count(name) > 1:
                    raise UserError(f"{path} has two columns {name!r}; fix: rename one of them")
            images = {
                field.name: _images(file, path, field)
                for field in schema
                if _holds_images(field.type)
            }
    except (pyarrow.ArrowException, OSError) as error:
        raise _broken(path, error) from error
    return images, [name for name in schema.names if name not in images]


def text_batches(path: Path, names: list[str]) -> "Iterator[pyarrow.RecordBatch]":
    """The rows, all cells of some columns as text.

    Raises:
        UserError: it is no whole Parquet file.
    """
    import pyarrow

    try:
        with _opened(path) as file:
            labels = _labels(file.schema_arrow)
            for batch in file.iter_batches(_BATCH, columns=names):
                columns = [_as_text(batch.column(name), labels.get(name)) for name in names]
                yield pyarrow.RecordBatch.from_arrays(columns, names=names)
    except (pyarrow.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _opened(path: Path) -> "pyarrow.parquet.ParquetFile":
    import pyarrow.parquet

    with open_regular(path, "table"):
        pass
    return pyarrow.parquet.ParquetFile(path)


def _broken(path: Path, error: Exception) -> UserError:
    said = (str(error).splitlines() or [""])[0][:200]
    return UserError(f"{path} is no whole Parquet file ({said}); fix: copy it again")


def _labels(schema: "pyarrow.Schema") -> dict[str, list[str]]:
    """The names of the classes of each column that `datasets` has written as their numbers."""
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = said["info"]["features"].items()
        return {
            name: [str(each) for each in feature["names"]]
            for name, feature in features
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _as_text(column: "pyarrow.Array", labels: list[str] | None = None) -> "pyarrow.Array":
    import pyarrow
    import pyarrow.compute
    from pyarrow import types

    if labels is not None and types.is_integer(column.type):
        said = ["" if n is None or n < 0 else labels[n] if n < len(labels) else str(n)
                for n in column.to_pylist()]  # fmt: skip
        return column_of(said, pyarrow.string())
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_nested(column.type):
        cells = column.to_pylist()
        said = ["" if cell is None else json.dumps(cell, ensure_ascii=False, default=str)
                for cell in cells]  # fmt: skip
        return column_of(said, pyarrow.string())
    if types.is_floating(column.type):  # what pandas has for a missing number is none
        cells, exact = column.to_pylist(), column.cast(pyarrow.string()).to_pylist()
        said = [
            "" if cell is None or math.isnan(cell) else _number(cell, text)
            for cell, text in zip(cells, exact, strict=True)
        ]
        return column_of(said, pyarrow.string())
    return pyarrow.compute.fill_null(column.cast(pyarrow.string()), "")


def _number(value: float, text: str) -> str:
    """A number as text, with the digits that its own type has; a whole one without a point, for
    missing cells make floats of integers."""
    return str(int(value)) if value.is_integer() else text


def _holds_images(kind: Any) -> bool:
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _holds_images(kind.value_type)
    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _images(
    file: "pyarrow.parquet.ParquetFile", path: Path, field: "pyarrow.Field"
) -> ParquetImages:
    """A column of images; of what tells how many there are, the least is read."""
    import pyarrow.compute
    from pyarrow import types

    leaves = [
        (number, file.schema.column(number).path)
        for number in range(len(file.schema))
        if file.schema.column(number).path.split(".")[0] == field.name
    ]
    if types.is_nested(field.type) and not types.is_struct(field.type):
        least = next((leaf for _, leaf in leaves if leaf.endswith(".path")), leaves[0][1])
        column = file.read(columns=[least]).column(0)
        return ParquetImages(
            path, field.name, pyarrow.compute.list_value_length(column), frozenset()
        )
    number, leaf = next((each for each in leaves if each[1].endswith("bytes")), leaves[0])
    missing: set[int] = set()
    first = 0
    for group in range(file.num_row_groups):
        found = file.metadata.row_group(group)
        count = found.num_rows
        statistics = found.column(number).statistics
        nulls = statistics.null_count if statistics is not None else None
        if nulls == count:
            missing.update(range(first, first + count))
        elif nulls != 0:
            cells = file.read_row_group(group, columns=[leaf]).column(0)
            if types.is_struct(cells.type):
                cells = pyarrow.compute.struct_field(cells, "bytes")
            valid = cells.is_valid().to_pylist()
            missing.update(first + row for row, is_there in enumerate(valid) if not is_there)
        first += count
    return ParquetImages(path, field.name, None, frozenset(missing))
