"""One run by several processes, as `torchrun` starts them.

All of them learn together. The first one does everything else (the base, the cold start, opinions,
judging, what is written). The others wait until the stage is listed as finished in the run's
folder, which all of them see.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

PERIOD = 0.5
"""Seconds between two readings of what the first process has finished."""

PROCESSES = "WORLD_SIZE"
"""What a launcher of several processes sets. There the libraries' configurations are made when
their turn comes: making one joins the processes."""

_MARKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


def is_first() -> bool:
    """Whether this is the process that writes; a process without others is."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for(stage: str, done: Callable[[], Mapping[str, float]]) -> None:
    """Wait until the first process has done a stage. If it fails, the launcher ends all of them."""
    while stage not in done():
        time.sleep(PERIOD)


@contextmanager
def by_itself() -> Iterator[None]:
    """Hide the other processes from libraries, which would wait for them in each step."""
    hidden = {
        name: os.environ.pop(name)
        for name in tuple(os.environ)
        if name in _MARKS or name.startswith("ACCELERATE_")
    }
    try:
        yield
    finally:
        os.environ.update(hidden)
