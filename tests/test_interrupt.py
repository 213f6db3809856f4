"""Signals end real processes: in order where that is possible, and always soon."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from medgym import interrupt
from medgym.cli import main
from medgym.storage.run_folder import RunFolder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no such signals there")

IN_TIME = """
from medgym import interrupt
interrupt.PATIENCE = interrupt.STORING = interrupt.NOTICE = 120.0
within = interrupt._within
interrupt._within = lambda seconds, do: within(120.0, do)
"""
"""However busy the machine, what ends in order has ended by then."""

HANGS = f"""{IN_TIME}
import atexit, itertools, json, os, sys, time
from medgym.cli import main
from medgym.tools.zoom import Zoom

class Large:
    def __del__(self, write=os.write):
        write(2, b"torn down\\n")

json.large = Large()  # a module that is in use until the end

calls, zoom = itertools.count(), Zoom.__call__

def hang(self, args, workspace):
    if next(calls) < FIRST:
        return zoom(self, args, workspace)
    atexit.register(os.write, 2, b"in order\\n")
    os.write(2, b"hangs\\n")  # at once, for others write too
    time.sleep(600)

Zoom.__call__ = hang
sys.exit(main(sys.argv[1:]))
"""

STUBBORN = f"""{IN_TIME}
import os, sys, time
from medgym import interrupt, registry
from medgym.cli import main

def stubborn() -> None:
    print("a result")
    while True:
        try:
            os.write(2, b"hangs\\n")
            time.sleep(600)
        except KeyboardInterrupt:
            os.write(2, b"goes on\\n")

interrupt.PATIENCE = PATIENCE_S
registry.load = lambda kind, name: stubborn
sys.exit(main(["list"]))
"""


def begun(code: str, *words: str) -> subprocess.Popen[str]:
    """A process that hangs by now."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=-1, stderr=-1, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "hangs\n"
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    """Its status and what it said; one that does not end fails the test."""
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, out, [line for line in err.splitlines() if line != "hangs"]


def test_a_tool_that_hangs_holds_up_no_interrupt() -> None:
    words = ["play", "phantom:train", "--policy", "scripted:oracle", "--json"]
    process = begun(HANGS.replace("FIRST", "0"), *words)
    process.send_signal(signal.SIGINT)
    # What is to be done at the end is done; the interpreter is not torn down, piece by piece.
    assert ended(process) == (130, "", ["medgym: interrupted", "in order"])


def test_what_is_finished_is_stored_and_the_same_command_resumes(tmp_path: Path) -> None:
    words = ["rollout", "phantom:train[:12]", "--policy", "scripted:oracle", "--seed", "3"]
    words += ["--concurrency", "3", "--out", str(tmp_path / "run")]
    process = begun(HANGS.replace("FIRST", "7"), *words)
    process.send_signal(signal.SIGTERM)
    status, out, lines = ended(process)
    assert (status, out) == (143, "")
    said = [line for line in lines if not line.startswith("episodes: ") and line != "in order"]
    assert said == ["medgym: interrupted; to resume, run the same command again"]
    run = RunFolder.open(tmp_path / "run")
    assert 0 < len(run.trajectories) < 12
    assert main(words) == 0
    words[-1] = str(tmp_path / "undisturbed")
    assert main(words) == 0
    other = RunFolder.open(tmp_path / "undisturbed")
    assert RunFolder.open(tmp_path / "run").manifest["content"] == other.manifest["content"]


def test_what_does_not_end_by_itself_is_ended() -> None:
    process = begun(STUBBORN.replace("PATIENCE_S", "0.1"))
    process.send_signal(signal.SIGTERM)
    status, out, lines = ended(process)
    assert (status, out) == (143, "a result\n")
    assert [line for line in lines if line != "goes on"] == ["medgym: interrupted"]


def test_a_second_signal_ends_it_at_once() -> None:
    process = begun(STUBBORN.replace("PATIENCE_S", "600"))
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline() == "goes on\n"
    process.send_signal(signal.SIGINT)
    status, out, lines = ended(process)
    assert (status, out) == (130, "a result\n")
    assert [line for line in lines if line != "goes on"] == ["medgym: interrupted"]


FORKS = f"""{IN_TIME}
import multiprocessing, sys, time
from medgym import registry
from medgym.cli import main

def forks() -> None:
    context = multiprocessing.get_context("fork")
    runs = context.Semaphore(0)

    def sleep() -> None:
        runs.release()  # until a process runs, its signals are still its parent's
        time.sleep(600)

    stopped, other = (context.Process(target=sleep, daemon=True) for _ in range(2))
    for process in (stopped, other):
        process.start()
        runs.acquire()
    stopped.terminate()
    stopped.join()
    try:  # the signal comes as soon as the line is read
        print("ended by", stopped.exitcode, file=sys.stderr, flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        time.sleep(0.5)
        print("in order", file=sys.stderr, flush=True)
        raise

registry.load = lambda kind, name: forks
sys.exit(main(["list"]))
"""


def test_what_is_sent_to_a_forked_process_is_not_sent_to_the_command() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ended by -15\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said = process.communicate(timeout=240)[1]
    assert "in order\n" in said
    assert "medgym: interrupted" in said
    assert process.returncode == 130


def test_a_command_that_ends_first_waits_to_know_the_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interrupt._State, "watching", True)
    monkeypatch.setattr(interrupt._State, "first", None)
    monkeypatch.setattr(interrupt, "NOTICE", 60.0)
    later = threading.Timer(0.05, setattr, (interrupt._State, "first", signal.SIGTERM))
    later.start()
    assert interrupt.status() == 143
