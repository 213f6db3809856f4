"""`manifest.json` as it is read: a manifest of medgym, or one line that says what is wrong."""

from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.storage.json_files import read_json

MANIFEST, RECIPE = "manifest.json", "recipe.toml"

FORMAT = 2
"""Version of the layout of a run's folder."""

STATUSES = ("running", "done")

_TABLES = (
    "versions", "seeds", "counts", "content", "failures", "failed", "failed_parts", "plug_ins",
    "recipe", "unreadable",
)  # fmt: skip
"""Entries that are tables, where they are there."""

_LISTS = ("history", "notes", "dropped")
"""Entries that are lists, where they are there."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the manifest of a run's folder says.

    Raises:
        UserError: it is damaged, of something else, or of a newer medgym.
    """
    path = folder / MANIFEST
    found = read_json(path)
    written = found.get("format", 1)
    if type(written) is int and written > FORMAT:
        raise UserError(f"{path} has the format {written}; fix: install a newer medgym")
    wrong = [name for name in _TABLES if not isinstance(found.get(name) or {}, dict)]
    if found.get("status") not in STATUSES:
        wrong.insert(0, "status")
    if type(written) is not int:
        wrong.append("format")
    wrong += [name for name in _LISTS if not isinstance(found.get(name) or [], list)]
    if wrong:
        raise UserError(
            f"{path} is no manifest of a run (see {wrong[0]!r} in it); fix: restore it from a "
            "copy, or name the folder of a run"
        )
    return found
