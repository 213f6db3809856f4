"""The files of published exams, read as text: JSON lines, and Parquet without its images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.files import read_text

Row = dict[str, Any]

_MEND = "fix: fetch the data set again"


def json_lines(path: Path) -> list[tuple[int, Row]]:
    """The objects of a JSON lines file, each with the number of its line.

    Raises:
        UserError: it cannot be read, or a line is no object.
    """
    found = []
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        if line.strip():
            found.append((number, _object(line, f"line {number} of {path}")))
    return found


def json_of(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: it cannot be read.
    """
    return parsed(text_of(path), str(path))


def parsed(text: str | bytes, name: str) -> Any:
    """What a JSON text holds; `UserError` where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is no JSON ({error}); {_MEND}") from error


def text_of(path: Path) -> str:
    """The text of a file; `UserError` where it cannot be read."""
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}); {_MEND}") from error


def field(row: Row, name: str, place: str, kind: type = str) -> Any:
    """A field of a row.

    Raises:
        UserError: there is none of that type.
    """
    value = row.get(name)
    if not isinstance(value, kind):
        raise UserError(
            f"{place} has {_named(value)} as {name!r}, and a {_KINDS[kind]} is published there; "
            f"{_MEND}, in the revision of the card"
        )
    return value


def parquet_rows(path: Path, columns: Sequence[str], images: Sequence[str] = ()) -> list[Row]:
    """The rows of a Parquet file, without the bytes of its images.

    Args:
        path: the file.
        columns: those that are read.
        images: those whose cells are images, or lists of images. In a row they are the number of
            images that the cell holds.

    Raises:
        UserError: it cannot be read, or has no such column.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            known = file.schema_arrow.names
            for name in (*columns, *images):
                if name not in known:
                    raise UserError(
                        f"{path} has no column {name!r}, but {', '.join(known)}; {_MEND}"
                    )
            leaves = [file.schema.column(place).path for place in range(len(file.schema))]
            names = [leaf for name in images for leaf in leaves if _is_path(leaf, name)]
            table = file.read(columns=[*columns, *names])
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is no whole Parquet file ({error}); {_MEND}") from error
    missing = [name for name in images if name not in table.column_names]
    if missing:
        raise UserError(f"the column {missing[0]!r} of {path} holds no images; {_MEND}")
    rows: list[Row] = table.to_pylist()
    for row in rows:
        for name in images:
            cell = row[name]
            row[name] = len(cell) if isinstance(cell, list) else int(cell is not None)
    return rows


def _is_path(leaf: str, image: str) -> bool:
    """Whether a column of a Parquet file is the path, not the bytes, of an image."""
    parts = leaf.split(".")
    return parts[0] == image and parts[-1] == "path"


def _object(line: str, place: str) -> Row:
    value = parsed(line, place)
    if not isinstance(value, dict):
        raise UserError(f"{place} is no JSON object; {_MEND}")
    return value


def _named(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


_KINDS = {str: "text", int: "number", list: "list", dict: "table"}
