"""A disk that fills, in one line, whoever was writing.

What a run writes is written whole or not at all, so that making room and resuming is enough.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from medgym.errors import RunError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

SAID = ("os error 28", "os error 122", "os error 27", "inline_container.cc")
"""How safetensors spells those numbers, and torch that its file would not take any more."""


@contextmanager
def disk_may_fill() -> Iterator[None]:
    """Turn the many ways to say that a disk is full into one.

    Raises:
        RunError: it is.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        raise RunError(
            "the run's folder cannot be written: the disk is full; fix: make room, then go on "
            "with --resume from the last checkpoint"
        ) from error


def is_full(error: BaseException) -> bool:
    """Whether an error, or one behind it, says that a file could not grow."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in FULL:
            return True
        if any(words in str(behind) for words in SAID):
            return True
        behind = behind.__cause__ or behind.__context__
    return False
