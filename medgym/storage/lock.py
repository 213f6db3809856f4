"""The one process that writes into a run's folder, and whether the folder is still where it was.

A writer holds a lock on the run's `recipe.toml`, which the system takes back when the process ends,
however it ends. While it is held, everything that this process writes below the folder's path first
looks whether the folder there is still the one that was locked (`check_place`).
"""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

from medgym.errors import RunError, UserError

Identity = tuple[int, int]
"""What tells files and folders apart, whatever they are called: device and number."""


class Lock:
    """An exclusive lock on a run's folder, shared by all who ask for it in this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._folders: dict[str, Identity] = {}

    @classmethod
    def on(cls, path: Path) -> "Lock":
        """The lock on a run's `recipe.toml`.

        Raises:
            UserError: another process has it, the file cannot be written, or is a link.
        """
        try:  # NFS locks only what may be written
            lock = cls(os.open(path, os.O_RDWR | os.O_NOFOLLOW))
        except OSError as error:
            raise (
                refused_link(path)
                if error.errno == errno.ELOOP
                else UserError(
                    f"cannot write to {path} ({error.strerror}); fix: choose another place"
                )
            ) from error
        about = os.fstat(lock._descriptor)
        held = _LOCKS.get((about.st_dev, about.st_ino))
        if held is None:
            try:
                fcntl.flock(lock._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"another process is writing into {path.parent}; fix: wait until it ends, or "
                    "choose another name"
                ) from error
            except OSError:  # there are no locks on this file system
                pass
            held = _LOCKS[about.st_dev, about.st_ino] = lock
        held._folders[os.path.abspath(path.parent)] = _identity(path.parent)
        return held

    def check(self, path: str) -> None:
        """Make sure that the folder above a path is the one that was locked under its name."""
        for folder, identity in self._folders.items():
            if path != folder and not path.startswith(folder + os.sep):
                continue
            try:
                is_there = _identity(folder) == identity
            except OSError:
                is_there = False
            if not is_there:
                raise self._left(folder, identity)

    def _left(self, folder: str, identity: Identity) -> RunError:
        found = self._path()
        try:
            where = str(found.parent) if found and _identity(found.parent) == identity else None
        except OSError:
            where = None
        if where is not None:
            return RunError(
                f"the run folder {folder} was moved to {where} while it was written; what was "
                f"finished is in {where}; fix: run the same command again with --out {where} to "
                "resume"
            )
        return RunError(
            f"the run folder {folder} was moved or removed while it was written; what was finished "
            "is where it was moved to; fix: run the same command again, with --out if it was moved"
        )

    def _path(self) -> Path | None:
        """Where the locked file is now, as far as the system says it."""
        try:
            return Path(os.readlink(f"/proc/self/fd/{self._descriptor}"))
        except OSError:
            return None

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self._descriptor)  # at the interpreter's end, `os` may be gone before this is


_LOCKS: WeakValueDictionary[Identity, Lock] = WeakValueDictionary()
"""Those that this process holds, by the locked file."""


def check_place(path: Path | str) -> None:
    """Make sure that a run's folder which this process writes is still where it was.

    Args:
        path: something in it that is about to be written or removed.

    Raises:
        RunError: the folder was moved or removed, or another one is in its place.
    """
    locks = list(_LOCKS.values())
    if locks:
        absolute = os.path.abspath(path)
        for lock in locks:
            lock.check(absolute)


def refused_link(path: Path | str) -> UserError:
    """The error for a link where a run has a file or a folder of its own."""
    return UserError(
        f"{path} is a link, and medgym does not write through links inside a run; fix: replace it "
        "by what it points to, or remove it"
    )


def _identity(path: Path | str) -> Identity:
    about = os.stat(path)
    return about.st_dev, about.st_ino
