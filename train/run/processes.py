"""One run by several processes, as `torchrun` starts them.

All of them learn together; everything else (the base, the cold start, opinions, judging, what is
written) the first one does, and the others wait until its stage is written down in the run's
folder, which all of them see.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

PERIOD = 0.5
"""Seconds between two looks at what the first process has written down."""

_MARKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


def is_first() -> bool:
    """Whether this is the process that writes; where there is one, it is."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for(stage: str, done: Callable[[], Mapping[str, float]]) -> None:
    """Wait until the first process has done a stage. Where it fails, the launcher ends us all."""
    while stage not in done():
        time.sleep(PERIOD)


@contextmanager
def by_itself() -> Iterator[None]:
    """Hides the others from libraries, which would wait for them in each step of training."""
    hidden = {
        name: os.environ.pop(name)
        for name in tuple(os.environ)
        if name in _MARKS or name.startswith("ACCELERATE_")
    }
    try:
        yield
    finally:
        os.environ.update(hidden)
