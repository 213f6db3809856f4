"""The one process that writes into a run's folder, and whether the folder is still where it was.

A writer holds a lock on the run's `recipe.toml`, which the system takes back when the process ends,
however it ends. While it is held, everything that this process writes below the folder's path first
looks whether the folder there is still the one that was locked (`check_place`).
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from medgym.errors import RunError, UserError
from medgym.storage.manifest import RECIPE

TRIES, PAUSE = 5, 0.02
"""How often a lock is asked for, and the seconds between: a process that looks whether a run is
held (`is_held`) has its lock for a moment."""

Identity = tuple[int, int]
"""What tells files and folders apart, whatever they are called: device and number."""


class Lock:
    """An exclusive lock on a run's folder, shared by all who ask for it in this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._folders: dict[str, tuple[Identity, int]] = {}

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
            if not lock._taken():
                raise UserError(
                    f"another process is writing into {path.parent}; fix: wait until it ends, or "
                    "choose another name"
                )
            held = _LOCKS[about.st_dev, about.st_ino] = lock
        name = os.path.abspath(path.parent)
        for other in list(_LOCKS.values()):
            if other is not held:  # of a run that was here before
                other._forget(name)
        held._watch(name)
        return held

    def _taken(self) -> bool:
        for tried in range(TRIES):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if tried + 1 == TRIES:
                    return False
                time.sleep(PAUSE)
            except OSError:  # there are no locks on this file system
                break
        return True

    def _watch(self, folder: str) -> None:
        """Remember which folder has this name; its number is not given to another one meanwhile."""
        if folder not in self._folders:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            about = os.fstat(handle)
            self._folders[folder] = (about.st_dev, about.st_ino), handle

    def _forget(self, folder: str) -> None:
        if folder in self._folders:
            os.close(self._folders.pop(folder)[1])

    def check(self, path: str) -> None:
        """Make sure that the folder above a path is the one that was locked under its name.

        Who removes a folder file by file does not get rid of it while it is written: the recipe
        tells.
        """
        for folder, (identity, handle) in list(self._folders.items()):
            if path != folder and not path.startswith(folder + os.sep):
                continue
            try:
                is_there = identity_of(folder) == identity
            except OSError:
                is_there = False
            if not is_there:
                raise _left(folder, identity, handle)
            if not os.path.lexists(os.path.join(folder, RECIPE)):
                raise RunError(
                    f"{folder} lost its {RECIPE} while it was written, as if someone removed the "
                    "run; what is left of it is there; fix: choose another name, and run the same "
                    "command again"
                )

    def release(self) -> None:
        """Let another process write the run, also while objects of this one still hold the lock."""
        with suppress(OSError):  # there are no locks on this file system
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        for about, lock in list(_LOCKS.items()):
            if lock is self:
                del _LOCKS[about]

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        for handle in (self._descriptor, *(handle for _, handle in self._folders.values())):
            close(handle)  # at the interpreter's end, `os` may be gone before this is


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


def is_locked(folder: Path) -> bool:
    """Whether this process writes the run of this folder."""
    name = os.path.abspath(folder)
    return any(name in lock._folders for lock in list(_LOCKS.values()))


def is_held(folder: Path) -> bool:
    """Whether any process writes the run of this folder; nothing of it is changed.

    True where nobody can tell: the file system has no locks, or the file may not be read.
    """
    try:
        descriptor = os.open(folder / RECIPE, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _left(folder: str, identity: Identity, handle: int) -> RunError:
    """The error for a folder that is no longer where it was, and says where it is now."""
    try:  # as far as the system tells it
        where = os.readlink(f"/proc/self/fd/{handle}")
        is_there = identity_of(where) == identity
    except OSError:
        is_there = False
    if is_there:
        return RunError(
            f"the run folder {folder} was moved to {where} while it was written; what was "
            f"finished is in {where}; fix: run the same command again with --out {where} to resume"
        )
    return RunError(
        f"the run folder {folder} was moved or removed while it was written; what was finished is "
        "where it was moved to; fix: run the same command again, with --out if it was moved"
    )


def refused_link(path: Path | str) -> UserError:
    """The error for a link where a run has a file or a folder of its own."""
    return UserError(
        f"{path} is a link, and medgym does not write through links inside a run; fix: replace it "
        "by what it points to, or remove it"
    )


def identity_of(path: Path | str) -> Identity:
    """Which file or folder a path leads to.

    Raises:
        OSError: it leads to none.
    """
    about = os.stat(path)
    return about.st_dev, about.st_ino
