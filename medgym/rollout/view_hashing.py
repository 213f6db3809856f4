"""Views are drawn and hashed while the policy is being asked, in a few threads of their own.

A trajectory names what was shown by the hash of its pixels. Made when the episode is recorded, on
the event loop, hashes would hold up all other episodes; made by the many threads that tools wait
in, they would have these contend for the interpreter, and each keep the memory of the largest
picture that it ever drew. So large views are even left to a single thread. Nothing fails here:
a caller that needs a hash that could not be made meets the error.
"""

import asyncio
import os
from concurrent.futures import Future
from contextlib import suppress

from PIL import Image

from medgym.daemon_threads import DaemonThreads
from medgym.messages import ImagePart, Message
from medgym.workspace import Workspace

LARGE = 512 * 512
"""Pixels from which on a view is large."""

LATER = 0.05
"""Seconds after which a view is hashed that was not hashed meanwhile."""

_SMALL = DaemonThreads("medgym-drawing", min(4, os.cpu_count() or 1), sparing=True)
_LARGE = DaemonThreads("medgym-drawing-large", 1)


class Hashing:
    """The hashes of one episode's views, in the making."""

    def __init__(self) -> None:
        self._shown: list[ImagePart] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._making: list[Future[None]] = []

    def begin(self, message: Message) -> None:
        """Hash what a message shows for the first time, beside whatever comes next.

        A policy that sends it to a server hashes it itself, as soon as it is asked.
        """
        shown = [part for part in message.images if not part.picture.is_hashed]
        if shown:
            self._shown += shown
            self._timers.append(asyncio.get_running_loop().call_later(LATER, self._make))

    def _make(self) -> None:
        shown, self._shown = self._shown, []
        for part in shown:
            if not part.picture.is_hashed:
                self._making.append(_threads(part).submit(_hash, part))

    def leave(self) -> None:
        """Begin nothing more, and hold no picture."""
        for timer in self._timers:
            timer.cancel()
        self._shown.clear()

    async def end(self) -> None:
        """Make all hashes, and wait until they are there."""
        self._make()
        for making in self._making:
            if not making.done():
                await asyncio.wrap_future(making)


async def read(message: Message, workspace: Workspace) -> list[Image.Image]:
    """What a message shows of studies of many images, whose files may turn out to be unreadable.

    A policy may draw the views of many episodes at once, and would fail them all. While what is
    returned is held, it draws none of these again.

    Raises:
        UnreadableImage: a file cannot be read.
    """
    images, views = workspace.images, workspace.views
    parts = [part for part in message.images if images[views[part.view].image].has_many]
    drawing = [_threads(part).submit(_drawn, part) for part in parts]
    return [await asyncio.wrap_future(each) for each in drawing]


def _threads(part: ImagePart) -> DaemonThreads:
    width, height = part.size
    return _SMALL if width * height < LARGE else _LARGE


def _drawn(part: ImagePart) -> Image.Image:
    return part.image


def _hash(part: ImagePart) -> None:
    with suppress(Exception):
        _ = part.sha256
