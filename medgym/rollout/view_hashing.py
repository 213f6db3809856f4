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

from medgym.deadline import DaemonThreads
from medgym.messages import ImagePart, Message
from medgym.workspace import Workspace

LARGE = 512 * 512
"""Pixels from which on a view is large."""

_SMALL = DaemonThreads("medgym-drawing", min(4, os.cpu_count() or 1))
_LARGE = DaemonThreads("medgym-drawing-large", 1)


class Hashing:
    """The hashes of one episode's views, in the making."""

    def __init__(self) -> None:
        self._making: list[Future[None]] = []

    def begin(self, message: Message) -> None:
        """Hash what a message shows for the first time, beside whatever comes next."""
        for part in message.images:
            if not part.picture.is_hashed:
                self._making.append(_threads(part).submit(_hash, part))

    async def end(self) -> None:
        """Wait until all that was begun is done."""
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
