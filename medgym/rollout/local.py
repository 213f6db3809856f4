"""The back end `local`: every episode is a coroutine of this process and advances at its own pace.

Tools and image decoding run in threads; the calls of a tool that takes batches are joined. Members
of a group that play at the same time share their case's opened images, which are freed with the
last of them. What is shared is found by the images themselves (URI and frame), not by a case's id.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cached_property
from weakref import WeakValueDictionary

from medgym.cases import Case
from medgym.daemon_threads import DaemonThreads
from medgym.episode import Rules
from medgym.failures import Failure
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import ImageRef
from medgym.memory import image_memory
from medgym.messages import Message
from medgym.png import png_bytes
from medgym.policy import Policy, Sampling
from medgym.rollout.backend import Backend, Finished, Job
from medgym.rollout.episode_loop import OnMessages, roll_out
from medgym.rollout.image_memory import ImageMemory, decoded
from medgym.rollout.tool_batches import batched, close_batches
from medgym.threads import in_thread

THREADS = 64
"""Threads for tools: they wait (for a service, a disk) more than they compute."""


OPENING = min(32, (os.cpu_count() or 1) + 4)
"""Threads that open the images of cases, which computes more than it waits. With as many as there
are episodes, the first image would be ready when all are, and all would take memory at once."""


class LocalBackend(Backend):
    """Plays in this process.

    Args:
        policy, rules, sampling, seed: as `collect`'s.
        concurrency: episodes in flight at once; there are no more threads than that.
        stored: whether an image of that hash is stored already; None where none are stored.
        on_messages: receives each finished conversation, in a thread of its own.
    """

    def __init__(
        self,
        policy: Policy,
        rules: Rules,
        *,
        sampling: Sampling | None = None,
        seed: int = 0,
        concurrency: int = 64,
        stored: Callable[[str], bool] | None = None,
        on_messages: OnMessages | None = None,
    ) -> None:
        self._policy = policy
        self._drifted = policy.drifts or 0
        self._rules = batched(rules)
        self._sampling = sampling
        self._seed = seed
        self._stored = stored
        self._on_messages = on_messages
        self._threads = DaemonThreads("medgym-tools", min(concurrency, THREADS))
        self._opening = DaemonThreads("medgym-images", min(concurrency, OPENING), sparing=True)
        self._decoded: WeakValueDictionary[tuple[ImageRef, ...], _Decoded] = WeakValueDictionary()

    @cached_property
    def image_memory(self) -> ImageMemory:
        """See `Backend`."""
        return ImageMemory(image_memory(), opens=True)

    async def attempt(self, job: Job) -> Finished:
        """Play one episode; see `Backend.attempt`."""
        shared = self._decoded.get(job.case.images)
        if shared is None:
            opened = self.image_memory.opened(job.case)
            shared = self._decoded[job.case.images] = _Decoded(job.case, opened)
        images: dict[str, bytes] = {}

        def finish(messages: Sequence[Message]) -> None:
            if self._stored is not None:
                images.update(encoded(messages, self._stored))
            if self._on_messages is not None:
                self._on_messages(messages)

        wanted = self._stored is not None or self._on_messages is not None
        trajectory = await roll_out(
            job.case,
            self._policy,
            self._rules,
            sampling=self._sampling,
            seed=self._seed,
            member=job.member,
            resume=job.resume,
            studies=shared.studies(self._opening),
            threads=self._threads,
            on_messages=finish if wanted else None,
        )
        return Finished(trajectory, images)

    async def close(self) -> None:
        """End the threads."""
        close_batches(self._rules)
        for threads in (self._threads, self._opening):
            threads.shutdown(wait=False, cancel_futures=True)
        counted = self._policy.drifts
        self.drifts = None if counted is None else counted - self._drifted


def encoded(messages: Sequence[Message], stored: Callable[[str], bool]) -> dict[str, bytes]:
    """PNG bytes of the images in a conversation that are not stored yet, by content hash."""
    fresh = {}
    for part in (part for message in messages for part in message.images):
        if part.sha256 not in fresh and not stored(part.sha256):
            fresh[part.sha256] = part.picture.png or png_bytes(part.image)
    return fresh


class _Decoded:
    """A case's images, decoded once, by the first that asks, and awaited by the others.

    Args:
        opened: the images, where they are open already.
    """

    def __init__(self, case: Case, opened: list[OpenedImage] | None) -> None:
        self._case = case
        self._opened = opened
        self._task: asyncio.Future[list[OpenedImage]] | None = None

    async def studies(self, threads: Executor) -> list[OpenedImage]:
        if self._opened is not None:
            return self._opened
        if self._task is None:
            self._task = in_thread(threads, decoded, self._case)
            self._task.add_done_callback(_heard)
        try:
            return await asyncio.shield(self._task)
        except Failure:
            self._task = None  # the next attempt opens them again
            raise


def _heard(task: "asyncio.Future[list[OpenedImage]]") -> None:
    """Take note of an error, which nobody awaits any more where a run has ended meanwhile: Python
    would print its traceback."""
    if not task.cancelled():
        task.exception()
