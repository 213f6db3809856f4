"""Waits until the process that started it is gone, then removes its Ray cluster's folder.

A script of its own that imports nothing of medgym, so that it is small. What is left of the cluster
by then is ended too: some of Ray's processes notice only after minutes that they are alone.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

ROUNDS = 20
"""Times that it looks again, half a second apart: a process that ends may still write."""


def rest_of(folder: str) -> list[int]:
    """The processes of Ray that were started with this folder (on Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            is_ray = any(b"/ray/" in word for word in words[:4]) and int(entry.name) != os.getpid()
            if is_ray and any(folder.encode() in word for word in words):
                found.append(int(entry.name))
    return found


def main(folder: str) -> None:
    """Wait for the end of the standard input, then clear away."""
    sys.stdin.buffer.read()
    for _ in range(ROUNDS):
        rest = rest_of(folder) if os.path.isdir(folder) else []
        for pid in rest:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        if not rest and not os.path.isdir(folder):
            return
        time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1])
