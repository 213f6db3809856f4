"""Finished episodes on their way into a run's folder, also while it cannot be written.

First come the images, then the part of trajectories that names them. A folder that cannot be
written (a full disk) is said at once and tried again for `PATIENCE` seconds, with a countdown.
Meanwhile episodes go on and wait in memory, up to a bound; then no new ones are started. When the
patience is over, the run ends, and as many episodes as fit are stored.
"""

import asyncio
import errno
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from medgym.errors import RunError, StorageError, UserError
from medgym.failures import Failure, reason_of
from medgym.interrupt import storing
from medgym.progress import Advance, progress
from medgym.rollout.backend import Finished
from medgym.storage.run_folder import RunFolder
from medgym.trajectory import Trajectory

FLUSH_COUNT, FLUSH_SECONDS, FLUSH_BYTES = 256, 5.0, 64 * 2**20
"""A part is written when it holds so many trajectories, its first one is so old, or its images take
so much memory. No image is written before, since without its part it is of no use."""

PATIENCE = 600.0
"""Seconds for which a folder that cannot be written is tried again."""

IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
"""A folder where a file belongs, or a file where a folder does: no waiting helps."""

PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds before the folder is tried again, doubled each time up to the longest."""

HELD_EPISODES, HELD_BYTES = 1024, 256 * 2**20
"""How much waits in memory for a folder that cannot be written: finished episodes, and bytes of
their images. Episodes that play already are finished beyond it."""


class Keeper:
    """Writes finished episodes into a run's folder.

    Args:
        out: the folder; None where nothing is kept.
        failed: receives each refusal of the folder.
    """

    def __init__(self, out: RunFolder | None, failed: Callable[[Failure], None]) -> None:
        self._out = out
        self._failed = failed
        self._waiting: list[Trajectory] = []
        self._images: dict[str, bytes] = {}
        self._bytes = 0
        self._since = 0.0
        self._refused: _Refused | None = None
        self._writing = threading.Lock()  # a stream that is closed leaves a write behind

    @property
    def has_room(self) -> bool:
        """Whether further episodes may be started."""
        if self._refused is None:
            return True
        return len(self._waiting) < HELD_EPISODES and self._bytes < HELD_BYTES

    def due_in(self) -> float | None:
        """Seconds until there is something to write; None where nothing waits."""
        if self._refused is not None:
            return max(0.0, self._refused.next_try - time.monotonic())
        if not self._waiting:
            return None
        return max(0.0, self._since + FLUSH_SECONDS - time.monotonic())

    def add(self, played: Sequence[Finished]) -> None:
        """Take finished episodes."""
        if self._out is None or not played:
            return
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting += [each.trajectory for each in played]
        for sha256, png in (pair for each in played for pair in each.images.items()):
            if sha256 not in self._images:
                self._images[sha256] = png
                self._bytes += len(png)

    async def flush(self) -> None:
        """Write what is due.

        Raises:
            StorageError: the folder was refused for too long, or is no longer where it was.
        """
        full = len(self._waiting) >= FLUSH_COUNT or self._bytes >= FLUSH_BYTES
        if (full and self._refused is None) or self.due_in() == 0.0:
            await self._attempt(self._write)

    async def end(self, note: Callable[[], None] = lambda: None, *, patient: bool) -> None:
        """Write all that waits, then a note about the run.

        Args:
            note: writes it.
            patient: whether a folder that cannot be written is waited for. At an end that another
                error asks for, as much is written as can be at once, and nothing is raised.

        Raises:
            RunError: as of `flush`.
        """
        if self._out is None:
            return

        def write() -> None:
            self._write()
            note()

        try:
            while patient and not await self._attempt(write):
                await asyncio.sleep(self.due_in() or 0.0)
        except BaseException:
            patient = False
            raise
        finally:
            if not patient:
                with storing(), suppress(OSError, RunError, UserError):
                    self._write_what_fits()
                    note()
            if self._refused is not None:
                self._refused.close()

    async def _attempt(self, write: Callable[[], None]) -> bool:
        """Whether a write went well."""
        try:
            with storing():
                await asyncio.to_thread(write)
        except OSError as error:
            self._failed(Failure("store", reason_of(error)))
            await self._wait(error)
            return False
        if self._refused is not None:
            self._refused.close()
            self._refused = None
        return True

    async def _wait(self, error: OSError) -> None:
        """Plan the next attempt, or end the run."""
        assert self._out is not None, "only a folder refuses anything"
        said = f"{self._out.path} cannot be written ({error.strerror})"
        mend = "make room"
        if error.errno in IN_THE_WAY:
            said = f"{error.filename2 or error.filename} is in the way of what medgym writes"
            mend = "move it away"
        else:
            if self._refused is None:
                self._refused = _Refused(said)
            if not self._refused.is_over:
                self._refused.plan()
                return
        await asyncio.to_thread(self._write_what_fits)
        left = f"{len(self._waiting)} finished episodes could not be stored; "
        raise StorageError(
            f"{said}; {left if self._waiting else ''}fix: {mend}, then run the same command "
            "again to resume"
        ) from error

    def _write(self) -> None:
        with self._writing:
            self._put_images()
            self._put_part(len(self._waiting))

    def _write_what_fits(self) -> None:
        """Store as many episodes as the folder takes, without those whose images it does not."""
        with self._writing:
            for sha256 in list(self._images):
                with suppress(OSError, RunError):
                    self._put_image(sha256)
            shown = {
                id(each): {use.sha256 for node in each.nodes for use in node.images}
                for each in self._waiting
            }
            lacking = self._images.keys()
            self._waiting.sort(key=lambda each: not shown[id(each)].isdisjoint(lacking))
            count = sum(shown[id(each)].isdisjoint(lacking) for each in self._waiting)
            size = count
            while size:
                try:
                    self._put_part(size)
                    count -= size
                    size = min(size, count)
                except (OSError, RunError):
                    size //= 2

    def _put_images(self) -> None:
        for sha256 in list(self._images):
            self._put_image(sha256)

    def _put_image(self, sha256: str) -> None:
        assert self._out is not None, "images wait for a folder"
        self._out.images.put_png(sha256, self._images[sha256])
        self._bytes -= len(self._images.pop(sha256))

    def _put_part(self, size: int) -> None:
        """Write the first of what waits."""
        if self._out is not None and size:
            self._out.trajectories.write(self._waiting[:size])
            del self._waiting[:size]


class _Refused:
    """That a folder cannot be written, since when, and what the user sees of it."""

    def __init__(self, said: str) -> None:
        self._start = time.monotonic()
        self._said = said
        self._pause = PAUSE
        self._shown = 0
        self._countdown = ExitStack()
        self._advance: Advance | None = None
        self.next_try = self._start

    @property
    def is_over(self) -> bool:
        """Whether it was tried for long enough."""
        return time.monotonic() - self._start >= PATIENCE

    def plan(self) -> None:
        """Plan the next attempt, and say how long the folder is waited for."""
        if self._advance is None:
            print(
                f"medgym: {self._said}; finished episodes wait in memory; fix: make room within "
                f"{PATIENCE:.0f} s",
                file=sys.stderr,
                flush=True,
            )
            shown = progress("waiting for room, seconds", total=int(PATIENCE))
            self._advance = self._countdown.enter_context(shown)
        passed = int(time.monotonic() - self._start)
        self._advance(passed - self._shown)
        self._shown = passed
        self.next_try = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def close(self) -> None:
        """End the countdown."""
        self._countdown.close()
