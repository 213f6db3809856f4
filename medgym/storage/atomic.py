"""Writing, replacing and removing what a run owns: whole or not at all, and never through a link.

Everything in a run's folder that is replaced or removed passes here. A file or a folder that is a
link is replaced itself, and what it points to stays as it is. A folder above it, inside the run,
must be no link. The run's own folder may be one.
"""

import errno
import os
import secrets
import shutil
from pathlib import Path

from medgym.storage.lock import Identity, check_place, identity_of, is_locked, refused_link

UNFINISHED = ".tmp-"
"""How the names of files and folders begin that are not whole yet; readers pass them by."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: a temporary file in the same folder, fsync, rename.

    Raises:
        OSError: it cannot be written.
        UserError, RunError: as of `check_writable`.
    """
    check_writable(path)
    _make_folder(path.parent)
    temporary = path.parent / f"{UNFINISHED}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as stream:  # not `mkstemp`, whose files no other user may read
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, but not the one of a run, which was removed meanwhile."""
    missing = []
    while not folder.is_dir() and not is_locked(folder):
        missing.append(folder)
        folder = folder.parent
    try:
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
    except FileNotFoundError:
        check_place(folder)
        raise


def append_line(path: Path, line: str) -> None:
    """Append a line, or several joined by line ends, to a file, whole or not at all.

    Raises:
        OSError: it cannot be written.
        UserError, RunError: as of `check_writable`; also where the file itself is a link.
    """
    check_writable(path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        raise refused_link(path) if error.errno == errno.ELOOP else error from error
    try:
        size = os.fstat(handle).st_size
        left = memoryview(f"{line}\n".encode())
        try:
            while left:
                left = left[os.write(handle, left) :]
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that it holds; nothing where there is none.

    Raises:
        OSError: it cannot be removed.
        UserError, RunError: as of `check_writable`.
    """
    check_writable(path)
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def move_whole(made: Path, place: Path) -> None:
    """Move a finished folder to its place, once all that is in it is on the disk.

    What is there is replaced. Errors are those of `remove`.
    """
    check_writable(place)
    for path in (*made.rglob("*"), made):
        sync(path)
    remove(place)
    made.rename(place)
    sync(place.parent)


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(path: Path) -> None:
    """Make sure that writing, replacing or removing something in a run stays inside the run.

    Raises:
        UserError: a folder between the run's and this is a link.
        RunError: the run's folder is no longer where it was.
    """
    check_place(path)
    folder = os.fspath(path.parent)
    try:
        identity = identity_of(folder)
    except OSError:  # it is made later
        identity = None
    if identity is None or _INSIDE.get(folder) != identity:
        refuse_links(path.parent)
        if identity is not None:
            _INSIDE[folder] = identity


_INSIDE: dict[str, Identity] = {}
"""Folders that were found to lie behind no link: as long as a path leads to the same folder, it is
not looked at again."""


def refuse_links(folder: Path) -> None:
    """Refuse a folder inside a run that is a link or lies behind one.

    Raises:
        UserError: it is one. Outside of a run links are as good as folders.
    """
    above, link, refused = os.fspath(folder), None, None
    while above:
        # The outermost run counts: what a link points to may be a run too.
        if _is_run(above):
            refused = link
        if os.path.islink(above):
            link = above
        parent = os.path.dirname(above)
        above = "" if parent == above else parent
    if refused is not None:
        raise refused_link(refused)


def _is_run(folder: str) -> bool:
    names = ("recipe.toml", "manifest.json")
    return all(os.path.exists(os.path.join(folder, name)) for name in names)
