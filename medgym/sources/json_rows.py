"""Objects of JSON files, their values as text."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.files import read_text


def json_objects(path: Path, fields: Sequence[str]) -> list[dict[str, str]]:
    """A JSON file that is a list of objects, with these fields as text without blanks around it.

    Raises:
        UserError: it is another file, or an object lacks a field.
    """
    try:
        items = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no whole JSON file ({error}); fix: copy it again") from error
    if not isinstance(items, list):
        raise UserError(f"{path} is no list of questions; fix: fetch it again")
    found = []
    for number, item in enumerate(items):
        for name in fields:
            if not isinstance(item, dict) or name not in item:
                raise UserError(f"row {number} of {path} has no {name!r}; fix: fetch it again")
            if isinstance(item[name], list | dict):
                raise UserError(
                    f"row {number} of {path} has a {type(item[name]).__name__} as {name!r}, and a "
                    "text is published there; fix: fetch it again"
                )
        found.append({name: _text(item[name]) for name in fields})
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
