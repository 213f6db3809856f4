"""The cache of built-in models: each is built on first use, and is there whole or not at all."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from medgym.errors import UserError
from medgym.storage.atomic import remove


def cached(name: str, made_of: Sequence[object], build: Callable[[Path], None]) -> Path:
    """The folder of a built-in model, which is built where the cache lacks it.

    The cache is `$XDG_CACHE_HOME/medgym` (else `~/.cache/medgym`).

    Args:
        name: the first part of the folder's name; a hash follows it.
        made_of: everything that makes the model, as JSON takes it.
        build: writes the model into an empty folder.

    Raises:
        UserError: nothing can be written there.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medgym"
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    folder = cache / f"{name}-{digest}"
    if folder.exists():
        return folder
    # Written under another name and renamed, so that it is there whole or not at all.
    making = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        making.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {cache} ({error.strerror}); "
            "fix: name another folder by XDG_CACHE_HOME"
        ) from error
    try:
        build(making)
        try:
            making.rename(folder)
        except OSError:  # another process has built the same one meanwhile
            if not folder.exists():
                raise
    finally:
        with suppress(OSError):
            remove(making)
    return folder


def source_of(*names: str) -> list[str]:
    """The source text of files of this room, each named by its path without its ending."""
    return [(Path(__file__).parents[1] / f"{name}.py").read_text("utf-8") for name in names]
