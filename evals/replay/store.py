"""The file of cached replies: SQLite, so that several processes may read and write it at once."""

import hashlib
import json
import secrets
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.messages import Reply
from medgym.redaction import known_secrets

from .reply import decoded, encoded, kind_of

FILE = "replies.sqlite"
FORMAT = 1
"""Of the file. Another one is refused."""

PATIENCE = 60.0
"""Seconds for which another process that writes is waited for."""

_FOUND = "CREATE TABLE IF NOT EXISTS found (policy TEXT PRIMARY KEY, facts TEXT)"
"""What policies said of themselves. Files of before have no such table."""

_TABLES = f"""
BEGIN IMMEDIATE;
PRAGMA user_version = {FORMAT};
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, kind TEXT, reply BLOB, hash BLOB);
CREATE TABLE IF NOT EXISTS counts (run TEXT PRIMARY KEY, hits INTEGER, calls INTEGER,
    damaged INTEGER, not_kept INTEGER);
COMMIT;
"""
"""All or nothing: another process may open the file at any moment, and this one may be killed."""


@dataclass(frozen=True)
class CacheCounts:
    """What a run had of a cache.

    Attributes:
        hits: replies that were found.
        calls: replies that the policy gave.
        damaged: entries that could not be read, and were asked for again.
        not_kept: replies that were not kept, since a secret of the environment stands in them, or
            what JSON cannot hold.
    """

    hits: int
    calls: int
    damaged: int = 0
    not_kept: int = 0

    def __str__(self) -> str:
        said = f"replies: {self.hits:,} from the cache, {self.calls:,} from the policy"
        if self.damaged:
            said += f"; {self.damaged:,} entries were damaged"
        if self.not_kept:
            said += f"; {self.not_kept:,} were not kept, for they hold a secret or no proper text"
        return said

    def as_dict(self) -> dict[str, int]:
        """The counts as `results.json` holds them."""
        return dict(vars(self))


class ReplyStore:
    """Replies by their keys, and what one run had of them, over all its processes.

    Args:
        folder: where the file lies; made as needed.

    Raises:
        UserError: the folder cannot be used, or holds the cache of another medgym.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._run = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot keep replies in {folder} ({error.strerror}); fix: name another folder"
            ) from error
        with self._opened() as database:
            database.execute("INSERT INTO counts VALUES (?, 0, 0, 0, 0)", (self._run,))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_connection": None, "_lock": None}  # another process opens its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def get(self, key: str) -> Reply | None:
        """The reply of a key; None where there is none, or what is there was not written so."""
        with self._opened() as database:
            row = database.execute(
                "SELECT kind, reply, hash FROM replies WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        try:
            kind, packed, digest = row
            if _hash(key, kind, packed) != digest:
                raise ValueError("it is not what was written")
            found = decoded(kind, zlib.decompress(packed))
        except (ValueError, TypeError, AttributeError, zlib.error):
            self._count("damaged")
            return None
        self._count("hits")
        return found

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply, for which the policy was asked."""
        self._count("calls")
        try:
            data, kind = encoded(reply), kind_of(type(reply))
        except ValueError:
            return self._count("not_kept")
        text = data.decode("utf-8")
        if any(secret in text or secret in reply.text for secret in known_secrets()):
            return self._count("not_kept")
        packed = zlib.compress(data)
        row = (key, kind, packed, _hash(key, kind, packed))
        with self._opened() as database:
            database.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", row)

    def found(self, policy: str) -> dict[str, Any] | None:
        """What a policy said of itself when it was asked last; None where it was not."""
        with self._opened() as database:
            row = database.execute("SELECT facts FROM found WHERE policy = ?", (policy,)).fetchone()
        try:
            facts = json.loads(row[0]) if row is not None else None
        except (TypeError, ValueError):
            return None  # it is damaged; the policy is asked again
        return facts if isinstance(facts, dict) else None

    def put_found(self, policy: str, facts: Mapping[str, Any]) -> None:
        """Keep what a policy said of itself."""
        with self._opened() as database:
            row = (policy, json.dumps(facts))
            database.execute("INSERT OR REPLACE INTO found VALUES (?, ?)", row)

    def counts(self) -> CacheCounts:
        """What this run had of the cache so far."""
        with self._opened() as database:
            columns = "hits, calls, damaged, not_kept"
            row = database.execute(f"SELECT {columns} FROM counts WHERE run = ?", (self._run,))
            return CacheCounts(*row.fetchone())

    def close(self) -> None:
        """Forget this run's counts, and let go of the file."""
        with self._opened() as database:
            database.execute("DELETE FROM counts WHERE run = ?", (self._run,))
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _count(self, column: str) -> None:
        with self._opened() as database:
            database.execute(
                f"UPDATE counts SET {column} = {column} + 1 WHERE run = ?", (self._run,)
            )

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The file, for one thread at a time.

        Raises:
            UserError: it is no cache, or of another medgym, or cannot be read or written.
        """
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connected()
                yield self._connection
            except sqlite3.Error as error:
                raise UserError(
                    f"the cache {self.path} cannot be used ({reason_of(error)}); fix: remove it, "
                    "or name another folder"
                ) from error

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version not in (0, FORMAT):
                raise UserError(
                    f"{self.path} is the cache of another medgym; fix: name another folder"
                )
            # Readers and one writer at once; a write that the machine's end may lose, but never
            # half of one.
            _patiently(database, "PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            if version == 0:
                database.executescript(_TABLES)
            _patiently(database, _FOUND)
        except BaseException:
            database.close()
            raise
        return database


def _patiently(database: sqlite3.Connection, statement: str) -> None:
    """Do what SQLite does not wait for by itself while another process begins the file."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            database.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _hash(key: str, kind: str, packed: bytes) -> bytes:
    return hashlib.sha256(f"{key} {kind} ".encode() + packed).digest()
