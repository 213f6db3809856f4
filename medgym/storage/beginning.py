"""The first moments of a run's folder, in which a run may be killed as well.

The recipe comes first and carries the lock, then comes the manifest. A folder without a manifest
that holds nothing but a recipe's text, or how that text begins, was left in between: the next run
of that recipe takes it over. Nothing that a user may have put there is ever overwritten.
"""

import os
from pathlib import Path

from medgym.errors import UserError
from medgym.storage.atomic import UNFINISHED
from medgym.storage.lock import Lock
from medgym.storage.manifest import RECIPE


def refuse_taken(folder: Path, text: str) -> None:
    """Make sure that a run of a recipe can begin in a folder, which need not be there yet.

    Raises:
        UserError: it holds anything but what an interrupted beginning of that run left; or it is
            no folder.
    """
    try:
        if folder.is_dir():
            taken = not all(_is_own(path, text) for path in folder.iterdir())
        elif folder.exists():
            raise UserError(f"{folder} is a file, not a folder; fix: choose another name")
        else:
            taken = False
    except OSError as error:
        raise _unwritable(folder, error) from error
    if taken:
        raise UserError(
            f"the run folder {folder} exists and is not empty; fix: choose another name or "
            "remove it"
        )


def _is_own(path: Path, text: str) -> bool:
    """Whether something in a folder is of an interrupted beginning, or a folder without content."""
    if path.name.startswith(UNFINISHED):
        return True
    if path.is_symlink():
        return False
    if path.is_dir():
        return not any(path.iterdir())
    return path.name == RECIPE and path.is_file() and _encoded(text).startswith(path.read_bytes())


def begin(folder: Path, text: str) -> Lock:
    """Make a run's folder with its recipe; returns the lock that this process then holds.

    Raises:
        UserError: the folder is taken, or cannot be written; or another process writes there.
    """
    try:
        refuse_taken(folder, text)
        folder.mkdir(parents=True, exist_ok=True)
        # An empty recipe is how every recipe begins: it is in nobody's way.
        os.close(os.open(folder / RECIPE, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666))
        lock = Lock.on(folder / RECIPE)
        refuse_taken(folder, text)  # of two runs that come at once, one goes past this
        write_recipe(folder, text)
    except FileExistsError as error:  # made since it was looked for
        raise UserError(f"{folder} is a file, not a folder; fix: choose another name") from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    return lock


def write_recipe(folder: Path, text: str) -> None:
    """Write the recipe in place, since it carries the lock: the whole of it, or nothing."""
    handle = os.open(folder / RECIPE, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.ftruncate(handle, 0)
        left = memoryview(_encoded(text))
        try:
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, 0)
            raise
    finally:
        os.close(handle)


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot write to {folder} ({error.strerror}); fix: choose another place")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
