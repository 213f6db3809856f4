"""Decoded images within the memory that is theirs: an episode begins when its images fit.

The members of a group share their case's images, so a case takes its part of the memory with the
first of its episodes and gives it back with the last. Cases are admitted in the order in which they
come. Where nothing else plays, a case may take more than there is, so every case gets its turn. An
episode waits before it holds anything but small images, which are opened with their header, so no
two can wait for each other.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial

from medgym.cases import Case
from medgym.daemon_threads import DaemonThreads
from medgym.errors import UserError, missing_library
from medgym.failures import Failure, at
from medgym.imaging.opened import OpenedImage, Sent, opened_image
from medgym.imaging.reach import reach_need
from medgym.imaging.study import ImageRef, need_in, open_study
from medgym.inbox import Inbox, inbox_of, resolve
from medgym.memory import machine_memory, readable
from medgym.privacy.names import without_names

FILES = ("file", "data")
"""The schemes of files, whose headers say how large they are."""

_HEADERS = DaemonThreads("medgym-headers", min(4, os.cpu_count() or 1), sparing=True)

READ_TOGETHER = 8
"""Headers that one thread is asked for at once, since to ask takes as long as to read most of
them."""

TOLD_AFTER = 0.005
"""Seconds after which it is told what has been read so far."""

SMALL = 2**19
"""Bytes that an image takes at most for which nothing is gained by waiting until it has room: to
read its header is as much work as to decode it."""

_largest: dict[str, int] = {}
"""The bytes of the largest image of each source so far, by scheme. A source's image says how large
it is only once it is drawn, so the first one of a source is drawn to be measured."""


def decoded(case: Case) -> list[OpenedImage]:
    """A case's images, opened for its episodes.

    Raises:
        Failure: at the boundary `image`, for good, where one cannot be read.
        UserError: the library that reads it is not installed.
    """
    with at("environment"):
        try:
            studies = [opened_image(ref) for ref in case.images]
        except ImportError as error:
            raise missing_library(error) from error
        except UserError as error:
            reason = without_names(str(error), case.images)  # the run keeps it
            raise Failure("image", reason, final=True) from error
    note_sizes(case.images, studies)
    return studies


def images_to_send(case: Case) -> list[Sent]:
    """The same for another process."""
    return [Sent(image) for image in decoded(case)]


def note_sizes(images: Sequence[ImageRef], opened: Sequence[OpenedImage]) -> None:
    """Take note of how much memory the images of sources take."""
    for ref, image in zip(images, opened, strict=True):
        scheme = ref.uri.partition(":")[0]
        if scheme in FILES:
            continue
        study = image.start
        # While a region is shown, colours are held in Pillow's form too, and grey values as bytes.
        per_pixel = 7 if study.pixels.ndim == 3 else 2
        size = study.pixels.nbytes + per_pixel * study.size[0] * study.size[1]
        size += reach_need(image.planes)
        if size > _largest.get(scheme, -1):
            _largest[scheme] = size


class _Share:
    """What the images of one case take.

    Attributes:
        users: episodes of the case that play, or wait to.
        need: bytes. admitted: whether they are counted as taken.
        measuring: done when the need is known, where it was not known at once.
        turn: done when there is room.
        opened: the images, where they are small and were opened to be measured.
    """

    def __init__(self) -> None:
        self.users = 0
        self.need = 0
        self.admitted = False
        self.measuring: asyncio.Future[None] | None = None
        self.turn: asyncio.Future[None] | None = None
        self.opened: list[OpenedImage] | None = None


_Measured = tuple[int, OpenedImage | None]
"""The bytes that an image takes, and a small one."""


class _Headers:
    """Reads what the headers of files say of the memory that they need, several one after the
    other where they are asked for at the same time."""

    def __init__(self, opens: bool) -> None:
        self._opens = opens
        self._asked: list[tuple[ImageRef, asyncio.Future[_Measured]]] = []

    def measured(self, ref: ImageRef) -> "asyncio.Future[_Measured]":
        """What an image takes; 0 where it cannot be opened."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._begin, loop)
        future: asyncio.Future[_Measured] = loop.create_future()
        self._asked.append((ref, future))
        return future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        asked, self._asked = self._asked, []
        for first in range(0, len(asked), READ_TOGETHER):
            some, inbox = asked[first : first + READ_TOGETHER], inbox_of(loop)
            reading = _HEADERS.submit(_read, some, self._opens, inbox)
            reading.add_done_callback(partial(_unread, some, inbox))


def _read(
    asked: Sequence[tuple[ImageRef, "asyncio.Future[_Measured]"]], opens: bool, inbox: Inbox
) -> None:
    read: list[tuple[asyncio.Future[_Measured], _Measured]] = []
    due = time.monotonic() + TOLD_AFTER
    for ref, future in asked:
        read.append((future, _header(ref, opens)))
        if time.monotonic() > due:
            inbox.send(_tell, read)
            read, due = [], time.monotonic() + TOLD_AFTER
    inbox.send(_tell, read)


def _unread(
    asked: Sequence[tuple[ImageRef, "asyncio.Future[_Measured]"]],
    inbox: Inbox,
    reading: Future[None],
) -> None:
    """Nobody waits for headers that no thread could read; opening the images says why."""
    if reading.exception() is not None:
        inbox.send(_tell, [(future, (0, None)) for _, future in asked])


def _tell(read: Sequence[tuple["asyncio.Future[_Measured]", _Measured]]) -> None:
    for future, measured in read:
        resolve(future, measured, None)


def _header(ref: ImageRef, opens: bool) -> _Measured:
    need, image = 0, None
    with suppress(Exception):  # an episode that opens it says what is wrong
        study = open_study(ref)
        need = need_in(study, ref)
        if opens and need <= SMALL:
            image = opened_image(ref, study)
    return need, image


class ImageMemory:
    """Admits the cases of a collection.

    Args:
        limit: bytes that the images of all admitted cases may take.
        opens: whether small images are opened here, for `opened`.
    """

    def __init__(self, limit: int, *, opens: bool = False) -> None:
        self._limit = limit
        self._taken = 0
        self._shares: dict[tuple[ImageRef, ...], _Share] = {}
        self._waiting: deque[_Share] = deque()
        self._measuring = asyncio.Lock()
        self._headers = _Headers(opens)

    @asynccontextmanager
    async def room(self, case: Case) -> AsyncIterator[None]:
        """Held by an episode while it plays: waits until its images have room.

        Raises:
            Failure: the images of the case exceed the machine's memory.
        """
        share = self._shares.get(case.images)
        if share is None:
            share = self._shares[case.images] = _Share()
        share.users += 1
        try:
            if share.users == 1:
                self._begin(share, case.images)
            if share.measuring is not None:
                await asyncio.shield(share.measuring)
            if not share.admitted:
                assert share.turn is not None
                await asyncio.shield(share.turn)
            yield
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[case.images]
                self._leave(share)

    def opened(self, case: Case) -> list[OpenedImage] | None:
        """The images of a case that has room, where they were opened to be measured."""
        share = self._shares.get(case.images)
        return None if share is None else share.opened

    def _begin(self, share: _Share, images: Sequence[ImageRef]) -> None:
        """Admit a case or let it wait, at once where its size is known, else in a task."""
        known = [_largest.get(ref.uri.partition(":")[0]) for ref in images]
        sizes = [size for size in known if size is not None]
        if len(sizes) == len(known):
            self._queue(share, sum(sizes))
        else:
            share.measuring = asyncio.ensure_future(self._measure(share, images))

    async def _measure(self, share: _Share, images: Sequence[ImageRef]) -> None:
        measured = [await self._size(ref) for ref in images]
        opened = [image for _, image in measured if image is not None]
        if len(opened) == len(measured):
            share.opened = opened
        self._queue(share, sum(need for need, _ in measured))

    def _queue(self, share: _Share, need: int) -> None:
        if need > machine_memory():
            raise Failure(
                "image",
                f"its images take {readable(need)} of memory, and this machine has "
                f"{readable(machine_memory())}; fix: cut or shrink them first",
                final=True,
            )
        share.need = need
        share.turn = asyncio.get_running_loop().create_future()
        self._waiting.append(share)
        self._admit()

    def _admit(self) -> None:
        """Admit those that wait, as far as there is room."""
        while self._waiting:
            first = self._waiting[0]
            if self._taken and self._taken + first.need > self._limit:
                return
            self._waiting.popleft()
            self._taken += first.need
            first.admitted = True
            assert first.turn is not None
            first.turn.set_result(None)

    async def _size(self, ref: ImageRef) -> _Measured:
        """What opening and showing an image takes; 0 where it cannot be opened."""
        scheme = ref.uri.partition(":")[0]
        if scheme in FILES:
            return await self._headers.measured(ref)
        async with self._measuring:
            if scheme not in _largest:
                await asyncio.to_thread(_measure, ref)
        return _largest[scheme], None

    def _leave(self, share: _Share) -> None:
        if share.measuring is not None:
            share.measuring.cancel()
        if share.admitted:
            self._taken -= share.need
        elif share in self._waiting:
            self._waiting.remove(share)
        self._admit()


def _measure(ref: ImageRef) -> None:
    """Measure an image of a source that has not been measured yet."""
    try:
        note_sizes([ref], [opened_image(ref)])
    except Exception:  # the episode opens it too, and says what is wrong
        _largest.setdefault(ref.uri.partition(":")[0], 0)
