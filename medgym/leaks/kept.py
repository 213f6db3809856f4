"""Fingerprints kept in a file, so that an interrupted check resumes.

A fingerprint of an image file is kept with the file's size and time of change: one that changed is
read again. One of an image that a source draws is kept until the check is done, since nothing says
whether the source draws it as before.
"""

import hashlib
import os
import sqlite3
from pathlib import Path
from types import TracebackType

import numpy as np

from medgym.errors import UserError
from medgym.imaging.study import ImageRef
from medgym.leaks.fingerprint import SIDE, WINDOWS, Fingerprint
from medgym.uris import file_path

_TABLE = "fingerprints_1"
"""Its number goes up when fingerprints are made in another way."""

_BATCH = 64


class KeptFingerprints:
    """Fingerprints by what names the image.

    Raises:
        UserError: the file cannot be opened, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path)
            self._file.execute(
                f"CREATE TABLE IF NOT EXISTS {_TABLE} (key TEXT PRIMARY KEY, drawn INTEGER, "
                "sha256 TEXT, width INTEGER, height INTEGER, thumb BLOB, codes BLOB)"
            )
            self._file.commit()
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"cannot keep the progress of the check in {path} ({error}); fix: name another "
                "folder by --out"
            ) from error
        self._waiting = 0

    def __enter__(self) -> "KeptFingerprints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._file.execute(f"DELETE FROM {_TABLE} WHERE drawn = 1")
        self._file.commit()
        self._file.close()

    def get(self, ref: ImageRef) -> Fingerprint | None:
        """The fingerprint of an image; None where it is not kept."""
        found = self._file.execute(
            f"SELECT sha256, width, height, thumb, codes FROM {_TABLE} WHERE key = ?",
            (_key(ref)[0],),
        ).fetchone()
        if found is None:
            return None
        sha256, width, height, thumb, codes = found
        return Fingerprint(
            sha256,
            np.frombuffer(thumb, np.uint8).reshape(SIDE, SIDE),
            np.frombuffer(codes, np.uint64).reshape(len(WINDOWS), -1),
            (width, height),
        )

    def put(self, ref: ImageRef, made: Fingerprint) -> None:
        """Keep the fingerprint of an image."""
        key, drawn = _key(ref)
        self._file.execute(
            f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, drawn, made.sha256, *made.size, made.thumb.tobytes(), made.codes.tobytes()),
        )
        self._waiting += 1
        if self._waiting == _BATCH:
            self._file.commit()
            self._waiting = 0


def _key(ref: ImageRef) -> tuple[str, bool]:
    """What names an image as it is now, and whether a source draws it."""
    parts, drawn = [ref.model_dump_json(exclude={"role"})], True
    try:
        path = file_path(ref.uri)
        if path is not None:
            state = os.stat(path)
            parts += [str(state.st_size), str(state.st_mtime_ns)]
            drawn = os.path.isdir(path)
    except (UserError, OSError, ValueError):
        pass
    if ref.uri.startswith("data:"):
        drawn = False
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=20).hexdigest(), drawn
