"""The URIs of arrays: the name of the source that opens them, then the path of a file URI."""

from pathlib import Path

from medgym.errors import UserError
from medgym.uris import SCHEME, file_path


def array_uri(scheme: str, uri: str) -> str:
    """The URI of an array in the file that a file URI names."""
    return f"{scheme}:{uri.removeprefix(SCHEME)}"


def array_path(scheme: str, uri: str) -> Path:
    """The file that such a URI names.

    Raises:
        UserError: it names none.
    """
    path = file_path(SCHEME + uri.removeprefix(f"{scheme}:"))
    if path is None or not path.is_absolute():
        raise UserError(f"{uri!r} names no file; fix: write {scheme}:///PATH")
    return path
