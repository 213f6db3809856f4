"""Plays small runs in processes that are killed by SIGKILL, and resumes them.

`python killed_runs.py FOLDER KILLS` prints, as JSON, how many processes were killed and what became
of the runs. Processes are forked from one that has imported everything, so that a hundred of them
are cheap. Each dies at a random one of its file operations: before it opens a file for writing,
makes a folder, renames, removes or flushes, or in the middle of a write.
"""

import gc
import json
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image

import medgym
from medgym.cases import Case, write_cases
from medgym.episode import Rules
from medgym.imaging.study import ImageRef
from medgym.policy import load_policy
from medgym.rollout import keeper
from medgym.storage import run_folder
from medgym.storage.run_folder import RunFolder
from medgym.tool import load_tools

OPERATIONS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
LAST = 45
"""The latest operation at which a process is killed; a whole run has about three times as many."""


def write_small_cases(path: Path) -> None:
    """Cases whose images are small, so that playing them takes no time."""
    cases = []
    for number in range(4):
        image = path.parent / f"{number}.png"
        Image.frombytes("L", (40, 40), random.Random(number).randbytes(1600)).save(image)
        cases.append(
            Case(
                id=f"own/test/{number}",
                images=(ImageRef(uri=image.as_uri()),),
                question="Which?",
                options=("left", "right"),
                answer="left",
                answer_type="choice",
                group=str(number),
                source="own",
                split="test",
            )
        )
    write_cases(cases, path)


def play(out: Path) -> None:
    """Play a run, or what is missing of it."""
    rules = Rules(tools=load_tools(["zoom"]), view_size=32)
    cases = str(out.parent / "cases.jsonl")
    stream = medgym.collect(
        cases, "scripted:random", rules, group_size=2, concurrency=2, seed=1, out=out
    )
    for _ in stream:
        pass


def die_at(number: int, folder: Path) -> None:
    """Kill this process at its so-manieth file operation below a folder."""
    left, write, fsync = number, os.write, os.fsync

    def is_last() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def watched(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            changes = isinstance(given[2], int) and bool(given[2] & os.O_ACCMODE)
        else:
            changes = event in OPERATIONS
        if changes and str(given[0]).startswith(str(folder)) and is_last():
            die()

    def half_written(handle: int, data: Any) -> int:
        if is_last():
            write(handle, data[: len(data) // 2])
            die()
        return write(handle, data)

    def unflushed(handle: int) -> None:
        if is_last():
            die()
        fsync(handle)

    os.write, os.fsync = half_written, unflushed
    sys.addaudithook(watched)


def forked(out: Path, number: int | None) -> int:
    """Play in a process of its own; returns by which signal it ended, 0 for none."""
    assert threading.active_count() == 1, "a fork would lack the other threads"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if number is not None:
                die_at(number, out)
            play(out)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    ended = os.waitpid(child, 0)[1]
    if os.WIFEXITED(ended) and os.WEXITSTATUS(ended):
        raise SystemExit(f"a process failed at {out}")
    return os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0


def load_what_a_run_loads(folder: Path) -> None:
    """Import here what a run imports, found by a run elsewhere: threads do not outlive a fork."""
    if os.fork() == 0:
        play(folder / "first")
        (folder / "modules").write_text("\n".join(sys.modules))
        os._exit(0)
    os.wait()
    for name in (folder / "modules").read_text().splitlines():
        with suppress(ImportError):
            import_module(name)
    load_policy("scripted:random")
    load_tools(["zoom"])
    made = run_folder.provenance()
    run_folder.provenance = lambda: made
    gc.freeze()  # searched for garbage, all memory would be copied in each of a hundred processes


def is_done(out: Path) -> bool:
    """Whether a run has come to its end."""
    path = out / "manifest.json"
    return path.is_file() and RunFolder.open(out).manifest["status"] == "done"


def outcome(out: Path) -> tuple[str, Sequence[str]]:
    """What a run comes to: the hash of its content, and its images."""
    run = RunFolder.open(out)
    images = sorted(path.name for path in out.glob("images/*/*.png"))
    for name in images:
        run.images.get(name.removesuffix(".png"))
    return run.manifest["content"]["trajectories"], images


def main(folder: Path, kills: int) -> dict[str, Any]:
    """Kill so many processes."""
    keeper.FLUSH_COUNT = 2
    chance = random.Random(0)
    write_small_cases(folder / "cases.jsonl")
    load_what_a_run_loads(folder)
    forked(folder / "whole", None)
    expected = outcome(folder / "whole")
    killed, runs, different, beginnings = 0, 0, 0, 0
    while killed < kills:
        out = folder / f"run-{runs}"
        runs += 1
        while not is_done(out):
            number = chance.randint(1, LAST) if killed < kills else None
            killed += forked(out, number) == signal.SIGKILL
            beginnings += not (out / "manifest.json").is_file()
        different += outcome(out) != expected
    return {"killed": killed, "runs": runs, "different": different, "beginnings": beginnings}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]).resolve(), int(sys.argv[2]))))
