"""Progress of long work: a bar on a terminal, plain lines elsewhere, always on stderr.

    with progress("rollouts", total=200) as advance:
        for trajectory in collect(...):
            advance(1, reward=trajectory.reward)

Standard output belongs to results, so that `--json` may be piped while the bar runs.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

INTERVAL = 10.0
"""Seconds between two plain lines."""

WORTH = 2.0
"""Work that takes fewer seconds has no plain line."""

Figure = float | int | str | None


_BARS: list["Progress"] = []
"""The bars that are shown now: of work within other work, on a line below."""


class Advance(Protocol):
    """Reports that `n` more are done, and the current figures (None omits one)."""

    def __call__(self, n: int = 1, /, **figures: Figure) -> None:
        """Advance by `n`."""
        ...


@contextmanager
def progress(
    what: str,
    total: int | None = None,
    *,
    done: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """Show how far something is. Of several processes of one run, the first one shows it.

    Args:
        what: the work, in a word or two.
        total: how much there is; None where that is not known.
        done: how much of it was done before, which says nothing of how fast the rest goes.
        clock: seconds; tests bring their own.
    """
    if int(os.environ.get("RANK", "0")):
        yield lambda _=1, /, **figures: None
    elif sys.stderr.isatty():
        yield from _bar(what, total, done)
    else:
        yield from _lines(what, total, done, clock)


def written(figures: dict[str, Figure]) -> str:
    """`reward 0.41, hit 0.93`: figures as they are shown."""
    shown = {name: value for name, value in figures.items() if value is not None}
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in shown.items()
    )


def _bar(what: str, total: int | None, before: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    if _BARS:  # of work that this is a part of
        part = _BARS[-1].add_task(what, total=total, completed=before, figures="")
        try:
            yield _advance(_BARS[-1], part)
        finally:
            _BARS[-1].remove_task(part)
        return
    # By default, rich would send what is printed to stdout meanwhile to stderr, results and all.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        _BARS.append(bar)
        try:
            yield _advance(bar, bar.add_task(what, total=total, completed=before, figures=""))
        finally:
            _BARS.remove(bar)


def _advance(bar: "Progress", task: "TaskID") -> Advance:
    def advance(n: int = 1, /, **figures: Figure) -> None:
        bar.advance(task, n)
        if figures:
            bar.update(task, figures=written(figures))

    return advance


def _lines(
    what: str, total: int | None, before: int, clock: Callable[[], float]
) -> Iterator[Advance]:
    start = last = clock()
    done, said, figures = before, -1, ""

    def say(now: float, ending: str = "") -> None:
        nonlocal said
        said, passed = done, now - start
        count = f"{done}/{total}" if total is not None else str(done)
        left = ""
        if total and before < done < total:
            left = f", {passed / (done - before) * (total - done):.0f} s left"
        rest = f", {figures}" if figures else ""
        print(f"{what}: {count}{rest}, {passed:.0f} s{left}{ending}", file=sys.stderr, flush=True)

    def advance(n: int = 1, /, **now_figures: Figure) -> None:
        nonlocal done, figures, last
        done += n
        figures = written(now_figures) or figures
        now = clock()
        if now - last >= INTERVAL:
            last = now
            say(now)

    ending = ", interrupted"
    try:
        yield advance
        ending = ""
    finally:
        now = clock()
        if now - start >= WORTH and (done != said or ending):
            say(now, ending)
