"""Two processes of one training, with the variables that `torchrun` sets.

They are forked from a process that has the libraries imported and nothing else done: to start an
interpreter and to import torch and TRL anew takes longer than most of what such tests train.
"""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NamedTuple, cast

COUNT = 2
_LIBRARIES = [
    "torch.distributed",
    "trl",
    "peft",
    "medgym.train.grpo.trainer",
    "medgym.train.sft.trainer",
]


class Ended(NamedTuple):
    """How one of them ended: its exit status (below 0: a signal), what it wrote on stderr."""

    status: int | None
    stderr: str


def begun_with_libraries() -> ForkServerContext:
    """Where processes begin that have the libraries imported."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(_LIBRARIES)
    return processes


def run_two(
    work: Callable[..., int | None], *args: object, folder: Path, timeout: float
) -> list[Ended]:
    """Call `work(*args)` in two processes; its result is the exit status (None for 0).

    Where one fails, the other one is terminated.

    Args:
        work: a function of a module, which the processes import. args: pickled for them.
        folder: where their stderr is kept. timeout: seconds until both are killed.
    """
    processes = begun_with_libraries()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    written = [folder / f"stderr-{rank}.txt" for rank in range(COUNT)]
    started = [
        processes.Process(target=_begin, args=(rank, port, path, work, args))
        for rank, path in enumerate(written)
    ]
    for process in started:
        process.start()
    end = time.monotonic() + timeout
    left = {process.sentinel: process for process in started}
    try:
        while left and (gone := wait(left, max(end - time.monotonic(), 0.0))):
            if any(left.pop(cast("int", each)).exitcode for each in gone):
                for other in left.values():  # as `torchrun` does
                    other.terminate()
    finally:
        for process in started:
            process.kill()
            process.join()
    return [
        Ended(process.exitcode, path.read_text() if path.exists() else "")
        for process, path in zip(started, written, strict=True)
    ]


def _begin(
    rank: int, port: int, stderr: Path, work: Callable[..., int | None], args: tuple[object, ...]
) -> None:
    count = str(COUNT)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    with stderr.open("w") as stream:
        os.dup2(stream.fileno(), 2)
    status = work(*args)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)
