"""Rows of Parquet files whose images are inside them, as the Hugging Face Hub publishes them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.uris import file_uri

BATCH = 64
"""Rows whose images are in memory at a time while they are hashed."""


@dataclass(frozen=True, slots=True)
class EmbeddedRow:
    """A row.

    Attributes:
        text: the other columns that were asked for, as text; None where a cell is null.
        path, number: the file and the number of the row in it, from 0.
        column: the one that holds the image.
        image_hash: of the bytes of the image file; empty where it was not asked for.
    """

    text: dict[str, str | None]
    path: Path
    number: int
    column: str
    image_hash: str

    @property
    def image(self) -> ImageRef:
        """Where the image is."""
        return ImageRef(uri=file_uri(self.path), member=f"{self.column}/{self.number}")

    def of(self, column: str) -> str:
        """A column's text without blanks around it; empty for a null."""
        return (self.text[column] or "").strip()


def embedded_rows(
    paths: Sequence[Path],
    columns: Sequence[str],
    image: str = "image",
    hashed: bool = False,
) -> list[EmbeddedRow]:
    """The rows of Parquet files, in their order. No image is decoded.

    Args:
        paths: the files.
        columns: the columns whose text is read.
        image: the column that holds images, each a struct with `bytes`, or bytes.
        hashed: whether each image file is hashed, which reads all of them once.

    Raises:
        UserError: a file is no whole Parquet file, or lacks a column.
    """
    rows = []
    for path in paths:
        hashes = _hashes(path, image) if hashed else None
        for number, text in enumerate(_texts(path, (*columns,), image)):
            found = next(hashes, "") if hashes is not None else ""
            rows.append(EmbeddedRow(text, path, number, image, found))
    return rows


def place_of(rows: Sequence[EmbeddedRow], number: int) -> str:
    """Where a row is, for the list of dropped rows."""
    return f"row {rows[number].number} of {rows[number].path.name}"


def column_names(path: Path) -> tuple[str, ...]:
    """The columns of a Parquet file.

    Raises:
        UserError: it is no whole Parquet file.
    """
    with _Opened(path) as file:
        return tuple(file.schema_arrow.names)


def _texts(path: Path, columns: tuple[str, ...], image: str) -> Iterator[dict[str, str | None]]:
    with _Opened(path) as file:
        known = file.schema_arrow.names
        for name in (*columns, image):
            if name not in known:
                raise UserError(
                    f"{path} has no column {name!r}, but {', '.join(known)}; fix: fetch it again"
                )
        for batch in file.iter_batches(columns=list(columns)):
            for row in batch.to_pylist():
                yield {name: None if row[name] is None else str(row[name]) for name in columns}


def _hashes(path: Path, image: str) -> Iterator[str]:
    import pyarrow

    with _Opened(path) as file:
        is_struct = pyarrow.types.is_struct(file.schema_arrow.field(image).type)
        name = f"{image}.bytes" if is_struct else image
        for batch in file.iter_batches(batch_size=BATCH, columns=[name]):
            cells = batch.column(0)
            for cell in cells.field("bytes") if is_struct else cells:
                data = cell.as_buffer()
                yield "" if data is None else hashlib.blake2b(data, digest_size=16).hexdigest()


class _Opened:
    """A Parquet file, whose faults are a user's errors."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        import pyarrow
        import pyarrow.parquet

        try:
            self._file = pyarrow.parquet.ParquetFile(self._path)
        except (pyarrow.ArrowException, OSError) as error:
            raise self._refused(error) from error
        return self._file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import pyarrow

        self._file.close()
        if isinstance(error, pyarrow.ArrowException | OSError):
            raise self._refused(error) from error

    def _refused(self, error: BaseException) -> UserError:
        return UserError(f"{self._path} is no whole Parquet file ({error}); fix: copy it again")
