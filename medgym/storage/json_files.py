"""JSON files of a run, as they are read: what is damaged or foreign is one line with its path."""

import json
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.files import read_text

_FIX = "fix: restore it from a copy, or see what else is damaged with medgym check run RUN"


def read_json(path: Path) -> dict[str, Any]:
    """The object that a file holds.

    Raises:
        UserError: it cannot be read, or is no JSON, or no object.
    """
    try:
        found = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path} ({reason(error)}); {_FIX}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is no JSON object; {_FIX}")
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines. A last line that is not whole was being written when its
    writer was killed: it does not count.

    Raises:
        UserError: it cannot be read, or a line is no JSON object.
    """
    try:
        *lines, last = read_text(path).split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({reason(error)}); {_FIX}") from error
    rows: list[dict[str, Any]] = []
    for number, line in enumerate([*lines, last], start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number > len(lines):
                break
            where = f"{path}, line {number}"
            raise UserError(f"cannot read {where} ({reason(error)}); {_FIX}") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}, is no JSON object; {_FIX}")
        rows.append(row)
    return rows


def reason(error: Exception) -> str:
    """Why a file cannot be read, in a few words."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return f"no UTF-8 at byte {error.start}"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: {error.msg} at line {error.lineno}"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)
