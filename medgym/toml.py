"""TOML: files, their tables checked against what they may hold (an error names the key), text."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError

from medgym.errors import UserError, unknown
from medgym.files import read_text

Table = TypeVar("Table", bound=BaseModel)


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """A file's tables, and its text; `UserError` where it cannot be read or is not TOML."""
    text = toml_source(path)
    try:
        return tomllib.loads(text), text
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not TOML ({error}); fix: correct that place") from error


def toml_source(path: Path) -> str:
    """A TOML file's text; `UserError` where it cannot be read or is not UTF-8."""
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not TOML ({error}); fix: correct that place") from error


def read_table(kind: type[Table], data: Any, where: str, name: str = "") -> Table:
    """The table `name` of the file `where`, or without a name the whole file.

    Raises:
        UserError: an unknown key (the nearest is named), or a value that a key does not take.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
    prefix = (name,) if name else ()
    place = ".".join(map(str, (*prefix, *first["loc"])))
    if first["type"] != "extra_forbidden":
        raise UserError(f"{where}: {place}: {first['msg']}")
    inner: Any = kind
    for part in first["loc"][:-1]:
        if isinstance(part, int):  # a table of a list, whose type was found already
            continue
        annotation = inner.model_fields[str(part)].annotation
        options = getattr(annotation, "__args__", (annotation,))
        inner = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    before = (*prefix, *map(str, first["loc"][:-1]))
    known = [".".join((*before, key)) for key in inner.model_fields]
    raise unknown(f"key in {where}:", place, known)


def toml_text(tables: Mapping[str, Any]) -> str:
    """Plain data as TOML: text, numbers, truth values, lists and tables; None is left out."""
    return tomli_w.dumps(_without_none(tables))


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }
