"""What a run owns is written whole, and nothing of it is written or removed through a link."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medgym.errors import RunError, UserError
from medgym.storage import atomic
from medgym.storage.atomic import (
    append_line,
    move_whole,
    refuse_links,
    remove,
    write_atomic,
)
from medgym.storage.layout import Place
from medgym.storage.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return RunFolder.create(tmp_path / "run", "").path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of the user's, outside of the run."""
    folder = tmp_path / "elsewhere"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "precious").write_text("mine")
    return folder


def move(path: Path) -> None:
    """Move a folder from outside of the run."""
    outside = next(above for above in path.parents if above.name.startswith("test_"))
    (outside / "made").mkdir()
    move_whole(outside / "made", path)


WRITES: dict[str, Callable[[Path], object]] = {
    "write": lambda path: write_atomic(path, b"new"),
    "append": lambda path: append_line(path, "new"),
    "remove": remove,
    "move": move,
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("below", ["precious", "new/precious"])
def test_nothing_is_done_behind_a_link_inside_a_run(
    name: str, below: str, run: Path, elsewhere: Path
) -> None:
    (run / "link").symlink_to(elsewhere / "deep")
    with pytest.raises(UserError, match=r"run/link is a link, .*; fix: "):
        WRITES[name](run / "link" / below)
    assert [path.name for path in elsewhere.rglob("*")] == ["deep", "precious"]
    assert (elsewhere / "deep" / "precious").read_text() == "mine"


@pytest.mark.parametrize("name", ["write", "remove", "move"])
@pytest.mark.parametrize("target", ["deep", "deep/precious", "not-there"])
def test_a_link_itself_is_replaced_or_removed(
    name: str, target: str, run: Path, elsewhere: Path
) -> None:
    (run / "part").mkdir()
    path = run / "part" / "link"
    path.symlink_to(elsewhere / target)
    WRITES[name](path)
    assert not path.is_symlink()
    assert path.exists() == (name != "remove")
    assert [found.name for found in elsewhere.rglob("*")] == ["deep", "precious"]
    assert (elsewhere / "deep" / "precious").read_text() == "mine"


def test_a_folder_is_replaced_whole(run: Path) -> None:
    (run / "cold_start").mkdir()
    (run / "cold_start" / "old").write_text("")
    (run / ".tmp-cold_start").mkdir()
    (run / ".tmp-cold_start" / "new").write_text("")
    move_whole(run / ".tmp-cold_start", run / "cold_start")
    assert [path.name for path in (run / "cold_start").iterdir()] == ["new"]
    assert not (run / ".tmp-cold_start").exists()


def test_a_line_is_not_appended_through_a_link(run: Path, elsewhere: Path) -> None:
    (run / "metrics.jsonl").symlink_to(elsewhere / "deep" / "precious")
    with pytest.raises(UserError, match=r"metrics.jsonl is a link"):
        append_line(run / "metrics.jsonl", "{}")
    assert (elsewhere / "deep" / "precious").read_text() == "mine"


def test_a_run_may_itself_lie_behind_links(run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(run)
    for path in (tmp_path / "runs" / "run", tmp_path / "again"):
        write_atomic(path / "view" / "index.html", b"")
        remove(path / "view")


def test_a_link_to_another_run_is_a_link(run: Path, tmp_path: Path) -> None:
    other = RunFolder.create(tmp_path / "other", "").path
    (run / "opinions").symlink_to(other)
    with pytest.raises(UserError, match=r"run/opinions is a link"):
        refuse_links(run / "opinions" / "trajectories")


def test_the_lock_is_not_taken_through_a_link(run: Path, elsewhere: Path) -> None:
    (run / "recipe.toml").unlink()
    (run / "recipe.toml").symlink_to(elsewhere / "deep" / "precious")
    with pytest.raises(UserError, match=r"recipe.toml is a link"):
        RunFolder(run).claim()


def test_a_line_is_appended_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "lines", os.write
    append_line(path, "one")

    def full(handle: int, data: Any) -> int:
        if len(data) < 4:
            raise OSError(28, "No space left on device")
        return write(handle, data[:-2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        append_line(path, "two and more")
    monkeypatch.undo()
    append_line(path, "three")
    assert path.read_text() == "one\nthree\n"


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_that_was_moved_is_not_written_under_its_old_name(
    name: str, replaced: bool, tmp_path: Path
) -> None:
    folder = RunFolder.create(tmp_path / "run", "")
    folder.path.rename(tmp_path / "moved")
    if replaced:
        folder.path.mkdir()
    with pytest.raises(RunError, match=r"run was moved to .*moved while .* --out .*moved to res"):
        WRITES[name](folder.path / "some" / "file")
    with pytest.raises(RunError, match="was moved to"):
        folder.note(step=1)
    with pytest.raises(RunError, match="was moved to"):
        Place(folder.path).finish("base", 1.0)
    assert folder.path.exists() == replaced
    assert not replaced or not any(folder.path.iterdir())


def test_a_new_run_may_take_the_place_of_one_that_was_removed(tmp_path: Path) -> None:
    old = RunFolder.create(tmp_path / "run", "")
    shutil.rmtree(old.path)
    RunFolder.create(tmp_path / "run", "").note(step=1)
    assert RunFolder.open(old.path).manifest["step"] == 1


def test_a_run_that_is_removed_between_two_looks_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create(tmp_path / "run", "a = 1")
    looked = atomic.check_writable

    def look(path: Path) -> None:
        looked(path)
        shutil.rmtree(folder.path)

    monkeypatch.setattr(atomic, "check_writable", look)
    with pytest.raises(RunError, match="was moved or removed while it was written"):
        write_atomic(folder.path / "images" / "ab" / "a.png", b"image")
    assert not folder.path.exists()


def test_a_run_is_not_written_on_while_it_is_removed(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "a = 1")
    for path in folder.path.iterdir():
        path.unlink()
    with pytest.raises(RunError, match=r"run lost its recipe.toml while .* fix: choose another"):
        folder.write_json("results.json", {})
    assert list(folder.path.iterdir()) == []


def test_a_run_that_was_removed_is_not_made_again(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "")
    for path in folder.path.iterdir():
        path.unlink()
    folder.path.rmdir()
    with pytest.raises(RunError, match="was moved or removed while it was written"):
        folder.write_json("results.json", {})
    assert not folder.path.exists()


ELSEWHERE = {
    "medgym/storage/atomic.py",
    "medgym/rollout/ray/private.py",
    "medgym/rollout/ray/watcher.py",
    "medgym/case_checks/export.py",
    "medgym/sources/hub/download.py",
    "medgym/sources/hub/fetch.py",
    "medgym/sources/studies/arrays.py",
    "tools/mcp/remote_tool.py",
    "tools/retrieve/index/build.py",
}
"""Where files are removed or replaced: here; in the temporary folder of our own Ray cluster; and
outside of runs, in what is fetched, unpacked, exported or indexed, or lent to a tool's server."""


def test_all_removing_and_replacing_passes_here() -> None:
    root = Path(__file__).parents[2]
    rooms = ("medgym", "agents", "tools", "evals", "train")
    calls = re.compile(r"\brmtree\(|\.unlink\(|\.rmdir\(|os\.(?:remove|replace)\(")
    found = {
        path.relative_to(root).as_posix()
        for room in rooms
        for path in (root / room).rglob("*.py")
        if calls.search(path.read_text("utf-8"))
    }
    assert found == ELSEWHERE
