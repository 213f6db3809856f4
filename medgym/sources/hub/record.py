"""The record in a fetched copy: what it is, which files it has, and whether it is whole.

It is written before the first byte is fetched, with `whole` false, and again when all is there. So
a download that was interrupted, by whatever, is never taken for a copy. A copy without a record was
made by hand.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.files import read_text
from medgym.sources.card import Card
from medgym.storage.atomic import write_atomic

RECORD = "medgym.json"
"""The record's name in the folder."""

LICENCE = "LICENCE.txt"
"""The name of the file that keeps the licence."""

VERSION = 1


@dataclass
class Record:
    """What a fetched copy is.

    Attributes:
        name: of the source.
        revision: as it was asked for.
        commit: of the Hub; None where nothing comes from there.
        whole: whether all that was asked for is there.
        files: what is there, by path: `size` in bytes, and `sha256`, `md5` or
            `git` (git's id).
    """

    name: str
    revision: str
    commit: str | None = None
    whole: bool = False
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it into a folder, whole or not at all."""
        data = {"version": VERSION, **vars(self)}
        write_atomic(folder / RECORD, f"{json.dumps(data, indent=1)}\n".encode())


def read_record(folder: Path) -> Record | None:
    """The record in a folder; None where there is none.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        data = json.loads(read_text(path))
        data.pop("version")
        return Record(**data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not what medgym cases get writes; fix: remove it, and fetch the data set "
            "again"
        ) from error


def refuse_half(card: Card, folder: Path) -> None:
    """Refuse a copy that was not fetched to its end.

    Raises:
        UserError: it is one.
    """
    record = read_record(folder)
    if record is None or record.whole:
        return
    raise UserError(
        f"{folder} holds half a download of {card.name} ({len(record.files):,} files are whole); "
        f"fix: run medgym cases get {card.name} again with the same --data, which resumes it"
    )


def write_licence(card: Card, folder: Path, commit: str | None) -> None:
    """Keep what the licence is, and whom to cite, beside the data."""
    where = card.home if commit is None else f"{card.home} (commit {commit})"
    lines = (card.title, f"From: {where}", f"Licence: {card.licence}", "", card.citation, "")
    write_atomic(folder / LICENCE, "\n".join(lines).encode())
