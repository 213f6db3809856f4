"""A run that was killed in its first moments begins again, and no user's file is in danger."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from medgym.errors import UserError
from medgym.storage import run_folder
from medgym.storage.run_folder import RunFolder

TEXT = "seed = 3\ncases = 'x'\n"


@pytest.mark.parametrize("held", ["", TEXT[:7], TEXT])
@pytest.mark.parametrize("beside", [(), (".tmp-0123456789abcdef",)])
def test_an_interrupted_beginning_is_taken_over(
    held: str, beside: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(held)
    for name in beside:
        (tmp_path / name).write_text("{")
    folder = RunFolder.create_or_resume(tmp_path, TEXT, seeds={"run": 3})
    assert folder.recipe == TEXT
    assert folder.manifest["seeds"] == {"run": 3}


@pytest.mark.parametrize("name", ["recipe.toml", "notes.txt", "images/mine.png"])
def test_what_a_user_has_put_there_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine = 1\n")
    with pytest.raises(UserError, match="exists and is not empty"):
        RunFolder.create_or_resume(tmp_path, TEXT)
    assert (tmp_path / name).read_text() == "mine = 1\n"


def test_a_recipe_that_is_a_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="exists and is not empty"):
        RunFolder.create_or_resume(tmp_path / "run", TEXT)
    assert (tmp_path / "mine").read_text() == ""


def test_a_beginning_on_a_full_disk_is_in_nobody_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(handle: int, data: Any) -> int:
        if len(data) < len(TEXT):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:4])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UserError, match=r"cannot write to .*No space left on device"):
        RunFolder.create_or_resume(tmp_path / "run", TEXT)
    monkeypatch.undo()
    assert RunFolder.create_or_resume(tmp_path / "run", "another = 1\n").recipe == "another = 1\n"


def test_slow_work_comes_before_the_first_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_up() -> dict[str, Any]:
        assert not (tmp_path / "run").exists()
        return {"format": 2}

    monkeypatch.setattr(run_folder, "provenance", looked_up)
    assert RunFolder.create(tmp_path / "run", TEXT).manifest["format"] == 2
