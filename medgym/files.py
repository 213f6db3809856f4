"""Opens files that a user names: regular files only, so that no read waits for ever.

A named pipe, a socket or a device has a path like any file, and reading it may never end. Every
file that a user names is opened here.
"""

import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from medgym.errors import UserError


def open_regular(path: Path, what: str = "file") -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    Args:
        path: the file.
        what: what the error calls it, such as "image".

    Raises:
        UserError: there is no such file, it cannot be read, or it is not a regular file.
    """
    try:
        _refuse_others(path, what, os.stat(path).st_mode)  # opening a device may already change it
        # As `open`, without asking whether it is a terminal.
        stream = io.BufferedReader(io.FileIO(path, "rb", opener=_unblocked))
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UserError(f"no such {what}: {path}; fix: check the path") from error
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); fix: check it") from error
    try:
        # By now the path may lead to another file.
        _refuse_others(path, what, os.fstat(stream.fileno()).st_mode)
    except BaseException:
        stream.close()
        raise
    return stream


def read_text(path: Path, what: str = "file") -> str:
    """The text of a regular UTF-8 file, with each line end as a line feed.

    Raises:
        UserError: as `open_regular` does.
        UnicodeDecodeError: the file is not UTF-8.
    """
    with open_regular(path, what) as stream, io.TextIOWrapper(stream, "utf-8") as text:
        return text.read()


def _unblocked(path: str, flags: int) -> int:
    """Opens without waiting: a named pipe would wait for its other end."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _refuse_others(path: Path, what: str, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        article = "an" if what[0] in "aeiou" else "a"
        inside = what if what.startswith("file") else f"{what} file"
        raise UserError(f"{path} is a folder; fix: name {article} {inside} in it")
    kinds = ((stat.S_ISFIFO, "named pipe"), (stat.S_ISSOCK, "socket"))
    kind = next((name for is_kind, name in kinds if is_kind(mode)), "device")
    raise UserError(f"{path} is a {kind}, not a file; fix: name a regular file")
