"""A folder that cannot be written is said at once, waited for, and ends the run in its own line."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.cli import main
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.messages import Message, Reply, render_answer
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect, keeper
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import ImageStore, TrajectoryStore
from medgym.tool import load_tools

CASES = "phantom,look=radiograph,question=kind:train[:8]"
RULES = Rules(tools=load_tools(["zoom"]), view_size=64)
COMMAND = ["rollout", CASES, "--policy", "scripted:oracle", "--view-size", "64", "--out"]


class Counting(Policy):
    """Answers at once, and counts the episodes that it has begun."""

    spec = "counting"
    begun = 0

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        self.begun += 1
        return Reply(render_answer("A"))


def refuse_images(monkeypatch: pytest.MonkeyPatch, is_full: Callable[[], bool]) -> None:
    """Refuse images, as a full disk does."""
    put = ImageStore.put_png

    def refuse(self: ImageStore, sha256: str, png: bytes) -> None:
        if is_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(self, sha256, png)

    monkeypatch.setattr(ImageStore, "put_png", refuse)


@pytest.mark.parametrize(("bound", "most"), [("HELD_EPISODES", 3), ("HELD_BYTES", 1)])
def test_episodes_go_on_in_memory_up_to_a_bound(
    bound: str,
    most: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(keeper, "PAUSE", 0.05)
    monkeypatch.setattr(keeper, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(keeper, bound, 3)
    monkeypatch.setattr(keeper, "FLUSH_COUNT", 1)
    policy, begun = Counting(), list[int]()
    refuse_images(monkeypatch, lambda: len(begun) < 5 or begun[-1] != begun[-5])
    folder = RunFolder.create(tmp_path / "run", "")
    stream = collect(
        open_cases(CASES), policy, RULES, out=folder, concurrency=1,
        on_failure=lambda tally: begun.append(policy.begun),
    )  # fmt: skip
    assert len(list(stream)) == 8
    assert begun[-1] == begun[-5], "then none is started"
    assert most <= begun[-1] <= most + 2, "what had begun before the folder refused is played on"
    assert len(folder.trajectories) == 8
    assert folder.manifest["failures"] == {"store": len(begun)}
    for trajectory in folder.trajectories:
        for sha256 in trajectory.image_hashes:
            folder.images.get(sha256)
    assert capsys.readouterr().err.splitlines()[0] == (
        f"medgym: {folder.path} cannot be written (No space left on device); finished episodes "
        "wait in memory; fix: make room within 600 s"
    )


@pytest.mark.parametrize(("most", "parts"), [(1, 8), (2**30, 1)])
def test_images_that_take_much_memory_are_written_with_their_part(
    most: int, parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FLUSH_BYTES", most)
    monkeypatch.setattr(keeper, "FLUSH_SECONDS", 600.0)
    written: list[int] = []
    write = TrajectoryStore.write

    def noting(self: Any, part: Sequence[Any], number: int | None = None) -> Any:
        for each in part:
            assert all(folder.images.has(sha256) for sha256 in each.image_hashes), "images first"
        written.append(len(part))
        return write(self, part, number)

    monkeypatch.setattr(TrajectoryStore, "write", noting)
    folder = RunFolder.create(tmp_path / "run", "")
    list(collect(open_cases(CASES), Counting(), RULES, out=folder, concurrency=1))
    assert sum(written) == 8
    assert len(written) <= parts
    assert (len(written) > 1) == (most == 1)


def test_what_fits_is_stored_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PATIENCE", 0.0)
    folder, write = RunFolder.create(tmp_path / "run", ""), TrajectoryStore.write

    def small_ones(self: Any, part: Sequence[Any], number: int | None = None) -> Any:
        if len(part) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, part, number)

    monkeypatch.setattr(TrajectoryStore, "write", small_ones)
    with pytest.raises(RunError, match=r"run cannot be written \(No space left on device\); fix: "):
        list(collect(open_cases(CASES), load_policy("scripted:prior"), RULES, out=folder))
    assert len(folder.trajectories) == 8


@pytest.mark.parametrize("kind", ["a folder", "a file"])
def test_what_is_in_the_way_is_said_at_once(kind: str, tmp_path: Path) -> None:
    whole = RunFolder.create(tmp_path / "whole", "")
    list(collect(open_cases(CASES), Counting(), RULES, out=whole, concurrency=1))
    image = min(whole.images.path.rglob("*.png"))
    folder = RunFolder.create(tmp_path / "run", "")
    place = folder.path / image.relative_to(whole.path)
    if kind == "a folder":
        place.mkdir(parents=True)
    else:
        place = place.parent
        place.parent.mkdir(exist_ok=True)
        place.touch()
    said = rf"{place} is in the way of what medgym writes; .*; fix: move it away, then run the same"
    with pytest.raises(RunError, match=said):
        list(collect(open_cases(CASES), Counting(), RULES, out=folder, concurrency=1))


def test_an_episode_without_its_images_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "PATIENCE", 0.0)
    folder = RunFolder.create(tmp_path / "run", "")
    refuse_images(monkeypatch, lambda: True)
    with pytest.raises(RunError, match=r"; 8 finished episodes could not be stored; fix: "):
        list(collect(open_cases(CASES), Counting(), RULES, out=folder, concurrency=1))
    assert len(folder.trajectories) == 0
    assert folder.manifest["failures"] == {"store": 1}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root mounts disks")
def test_a_disk_that_is_full_ends_in_one_line_and_the_same_command_resumes(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(keeper, "PATIENCE", 1.0)
    assert main([*COMMAND, str(disk / "run")]) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert "cannot be written (No space left on device); finished episodes wait" in first
    assert "could not be stored; fix: make room, then run the same command again" in last
    monkeypatch.setattr(keeper, "PATIENCE", 600.0)

    refused, plan = Event(), keeper._Refused.plan

    def planned(self: keeper._Refused) -> None:
        plan(self)
        refused.set()

    def later() -> None:
        assert refused.wait(120)
        make_room(disk)

    monkeypatch.setattr(keeper._Refused, "plan", planned)

    thread = Thread(target=later)
    thread.start()
    assert main([*COMMAND, str(disk / "run")]) == 0, "it waits for room"
    thread.join()
    assert RunFolder.open(disk / "run").manifest["counts"] == {"trajectories": 8}
    assert "cannot be written" in capsys.readouterr().err


LIMITED = """
import resource, signal, sys
from medgym.cli import main
from medgym.rollout import keeper
keeper.PATIENCE = 0.5
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
sys.exit(main(sys.argv[1:]))
"""


def test_files_that_may_not_grow_end_in_one_line_too(tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, *COMMAND, str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 1
    first, *_, last = ended.stderr.splitlines()
    assert "cannot be written (File too large); finished episodes wait in memory" in first
    assert "could not be stored; fix: make room" in last
    assert main([*COMMAND, str(out)]) == 0
    assert RunFolder.open(out).manifest["counts"] == {"trajectories": 8}


def test_a_folder_that_is_moved_ends_the_run_and_resumes_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FLUSH_SECONDS", 0.0)
    cases, policy = open_cases(CASES), load_policy("scripted:prior")
    folder = RunFolder.create(tmp_path / "run", "a = 1")
    stream = collect(cases, policy, RULES, out=folder, concurrency=2)
    next(stream)
    folder.path.rename(tmp_path / "moved")
    with pytest.raises(RunError, match=r"run was moved to (.*)moved while .* what was finished is"):
        list(stream)
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
    del folder, stream
    moved = RunFolder.create_or_resume(tmp_path / "moved", "a = 1")
    held = len(moved.trajectories)
    assert 0 < held < 8
    assert len(list(collect(cases, policy, RULES, out=moved))) == 8 - held
