"""A full disk is one error in one line, whatever was writing; so is a place that cannot be used.

A run writes every file whole or not at all, so that making room and resuming is enough.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medgym.errors import RunError
from medgym.storage.atomic import UNFINISHED

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.EISDIR, errno.ENOTDIR),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTEMPTY),
)
"""A place that cannot be used as it was asked for: no right to it, or it is something else."""

SAID = ("os error 28", "os error 122", "os error 27", "inline_container.cc")
"""How safetensors writes those numbers, and what torch says of a file that cannot grow."""


@contextmanager
def disk_may_fill() -> Iterator[None]:
    """Turn the many errors of a full disk into one.

    Raises:
        RunError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        raise RunError(
            "the run's folder cannot be written: the disk is full; fix: make room, then "
            "resume from the last checkpoint with --resume"
        ) from error


def is_full(error: BaseException) -> bool:
    """Whether an error, or one of its causes, says that a file could not grow."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL:
            return True
        if any(words in str(cause) for words in SAID):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def refused_place(error: BaseException) -> str | None:
    """The place that an error of `REFUSED` names, else None. Of an unfinished file it is the
    folder."""
    if not isinstance(error, OSError) or error.errno not in REFUSED or error.filename is None:
        return None
    path = Path(os.fsdecode(error.filename))
    return str(path.parent if path.name.startswith(UNFINISHED) else path)
