"""One run by several processes, as `torchrun` starts them.

All of them do every stage that can be shared out: each has its share of the cases or batches, and
all get what the others made. Only the first one writes. A stage that cannot be shared out is done
by the first one, while the others wait until it is listed as finished in the run's folder, which
all of them see.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from medgym.errors import RunError, UserError

T = TypeVar("T")

PERIOD = 0.5
"""Seconds between two readings of what the first process has finished."""

GRACE = 1.0
"""Seconds for which a process that fails gives way to one that can say more about it."""

TIMEOUT = 1800.0
"""The default of `ddp_timeout`."""

LONGEST = timedelta(days=30)
"""How long one process may wait for the others: as long as the longest share takes."""

PROCESSES = "WORLD_SIZE"
"""What a launcher of several processes sets. There the libraries' configurations are made when
their turn comes: making one joins the processes."""

_MARKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


class PeerLost(RunError):
    """Another process of the run has ended, so that it cannot continue."""


def count() -> int:
    """How many processes do this run."""
    return int(os.environ.get(PROCESSES, "1"))


def is_first() -> bool:
    """Whether this is the process that writes; a process without others is."""
    return int(os.environ.get("RANK", "0")) == 0


def share(items: Sequence[T]) -> list[T]:
    """This process's share of what there is to do; `in_order` undoes it."""
    return [items[at] for at in range(int(os.environ.get("RANK", "0")), len(items), count())]


def in_order(shares: Sequence[Sequence[T]]) -> list[T]:
    """The shares of all processes, put together in the order in which `share` found them."""
    longest = max(map(len, shares), default=0)
    return [each[at] for at in range(longest) for each in shares if at < len(each)]


def join(timeout: float = TIMEOUT, backend: str | None = None) -> None:
    """Meet the other processes, if there are any and they have not met.

    Args:
        timeout: seconds for which the steps of training wait for one of them (`ddp_timeout`).
        backend: by which they do (`ddp_backend`); by default the one that accelerate chooses.
    """
    if count() > 1:
        import torch
        from accelerate import PartialState

        waits = timedelta(seconds=timeout)
        PartialState(cpu=not torch.cuda.is_available(), backend=backend, timeout=waits)


def everyone(mine: T) -> list[T]:
    """What every process has, in the order of the processes; all of them must ask.

    Raises:
        PeerLost: another process has ended.
    """
    if count() == 1:
        return [mine]
    import torch.distributed as dist

    shares: list[Any] = [None] * count()
    with _peers():
        dist.all_gather_object(shares, mine, group=_group())
    return shares


def to_first(mine: Sequence[T]) -> list[T]:
    """On the first process the items of all, in the order of the processes; elsewhere none.

    All of them must ask. Raises `PeerLost`, as `everyone`.
    """
    if count() == 1:
        return list(mine)
    import torch.distributed as dist

    shares: list[Any] | None = [None] * count() if is_first() else None
    with _peers():
        dist.gather_object(mine, shares, dst=0, group=_group())
    return [each for part in shares or () for each in part]


def require_as_many(checkpoint: Path) -> None:
    """Insist on as many processes as wrote a checkpoint, of which each kept its random state.

    Raises:
        UserError: there are more or fewer, so that steps would have other episodes.
    """
    held = len(list(checkpoint.glob("rng_state*.pth")))
    if held and held != count():
        raise UserError(
            f"the number of processes was {held} when {checkpoint} was written, and is {count()} "
            f"now; fix: start {held}"
        )


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


@contextmanager
def one_voice() -> Iterator[None]:
    """Let one process say why the run ends: the launcher ends the others as soon as one has ended.

    What all of them find is said by the first one. One that only lost another gives way to that:
    libraries have errors of their own for it.
    """
    try:
        yield
    except Exception as error:
        if count() > 1:
            has_reason = isinstance(error, UserError | RunError) and not isinstance(error, PeerLost)
            time.sleep((0 if is_first() else GRACE) if has_reason else 3 * GRACE)
        raise


@cache
def _group() -> Any:
    """All processes; what they exchange does not pass through a GPU."""
    import torch.distributed as dist

    join()
    return dist.new_group(backend="gloo", timeout=LONGEST)


@contextmanager
def _peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(
            "another process of this run has ended; fix: see what it said, then resume with "
            "--resume"
        ) from error
