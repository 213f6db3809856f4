"""Checkpoints that several files of tests share, made once for each process."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint, by the name of what makes it (see `checkpoints`)."""
    from tests.tools import checkpoints

    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            at = tmp_path_factory.mktemp("checkpoints") / name
            folders[name] = getattr(checkpoints, name)(at)
        return folders[name]

    return folder
