"""The URIs of image files, written and read by one pair of functions.

`file:PATH` names a path as it stands: no character in it is special. `file://HOST/PATH` is a URI as
RFC 8089 has it, percent-encoded, with no host or `localhost`. Either way `#` and `?` belong to the
path, for a file has no fragment and no query. A name that is not UTF-8 is the bytes that it is.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

from medgym.errors import UserError

SCHEME = "file:"
_LOCAL = ("", "localhost")

_SERIES = re.compile(r"(.+)#series=([^#/]+)")


def in_a_table(path: Path, series: str) -> str:
    """How a cell of a table names one of several series, as errors say it."""
    return f"in a table write {path.name}#series={series}"


def split_series(cell: str) -> tuple[str, str | None]:
    """The path that a cell of a table names, and which series of it; None where it says none."""
    named = _SERIES.fullmatch(cell)
    return (cell, None) if named is None else (named[1], named[2])


def file_uri(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """The URI of a file, in ASCII. A relative path is made absolute; symbolic links stay."""
    return Path(os.fsdecode(path)).absolute().as_uri()


def file_path(uri: str) -> Path | None:
    """The path that a URI names; None where it is not that of a file.

    Raises:
        UserError: it names no file, or one on another machine.
    """
    if not uri.startswith(SCHEME):
        return None
    rest = uri.removeprefix(SCHEME)
    if not rest:
        raise UserError(f"{uri!r} names no file; fix: write file:PATH")
    if not rest.startswith("//"):
        return Path(rest)
    host, slash, path = rest.removeprefix("//").partition("/")
    if host.lower() not in _LOCAL:
        raise UserError(
            f"{uri!r} names a file on the machine {host!r}; fix: copy it here, and write file:PATH"
        )
    return Path(os.fsdecode(unquote_to_bytes(slash + path)))
