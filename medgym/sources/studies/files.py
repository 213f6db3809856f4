"""Reads the JSON, JSON lines and paths of published studies, and says in one line what is wrong."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from medgym.errors import UserError
from medgym.files import open_regular, read_text


def read_json(path: Path, kind: type[list[Any]] | type[dict[Any, Any]]) -> Any:
    """What a JSON file holds.

    Args:
        kind: the form that it has to have: a list or an object.

    Raises:
        UserError: it cannot be read, or has another form.
    """
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no whole JSON file ({error}); fix: fetch it again") from error
    if not isinstance(found, kind):
        wanted = "a list" if kind is list else "an object"
        raise UserError(f"{path} holds no {wanted}; fix: fetch it again")
    return found


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file; a last line that is not whole is refused.

    Raises:
        UserError: it cannot be read; the line is named.
    """
    with open_regular(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"line {number} of {path} is no JSON object ({error}); fix: fetch it again"
                ) from error
            if not isinstance(row, dict):
                raise UserError(f"line {number} of {path} is no JSON object; fix: fetch it again")
            yield row


def check_keys(row: object, needed: Iterable[str], place: str) -> dict[str, Any]:
    """A row, which has all keys that it needs.

    Raises:
        UserError: it lacks one, and what it has is named.
    """
    if not isinstance(row, dict):
        raise UserError(f"{place} is no object; fix: fetch the file again")
    missing = [key for key in needed if key not in row]
    if missing:
        raise UserError(
            f"{place} has no {missing[0]!r}, but {', '.join(map(str, row))}; fix: fetch the "
            "published revision"
        )
    return row


def within(folder: Path, name: object) -> Path | None:
    """The file of a folder that a data set names; None for what is no name, or leads out of it."""
    if not isinstance(name, str) or not name.strip():
        return None
    path = PurePosixPath(name)
    return None if path.is_absolute() or ".." in path.parts else folder / path


def text_of(value: object) -> str:
    """A cell as text: a number as it is written, nothing for null."""
    return "" if value is None else str(value).strip()
