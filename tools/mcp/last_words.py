"""What a server that was started as a command wrote to stderr before it ended."""

import asyncio
import os
import time
from typing import TextIO

from medgym.redaction import redact_text

from .results import plain_text

MOST = 2_000
"""Bytes of the end that are kept, so that a server which writes for ever takes no more."""

MOST_SAID = 300
"""Characters of it that an error tells."""

PATIENCE_S = 1.0
"""Seconds that a server which closed its output has to close its stderr as well."""


class LastWords:
    """The end of a server's stderr, read on the running event loop.

    Attributes:
        stream: what the server is given as its stderr.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._from, to = os.pipe()
        os.set_blocking(self._from, False)
        self.stream: TextIO = os.fdopen(to, "w", encoding="utf-8")
        self._kept = b""
        self._ended = False
        self._loop.add_reader(self._from, self._read)

    def _read(self) -> None:
        try:
            found = os.read(self._from, 65_536)
        except BlockingIOError:
            return
        self._kept = (self._kept + found)[-MOST:]
        if not found:
            self._ended = True
            self._loop.remove_reader(self._from)

    async def text(self) -> str:
        """Its last line that is not blank, without secrets; empty where it wrote none."""
        self.stream.close()  # so that it ends when the server has
        until = time.monotonic() + PATIENCE_S
        while not self._ended and time.monotonic() < until:
            await asyncio.sleep(0.01)
        lines = [
            line for line in self._kept.decode("utf-8", "replace").splitlines() if line.strip()
        ]
        return redact_text(plain_text(lines[-1], MOST_SAID)) if lines else ""

    def close(self) -> None:
        """Read no more."""
        if not self._ended:
            self._loop.remove_reader(self._from)
        self._ended = True
        self.stream.close()
        os.close(self._from)
