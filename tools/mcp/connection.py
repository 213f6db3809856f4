"""Connections to servers: one for each server and process, kept by a thread of its own.

A connection is made at the first call and again after it is lost. It is closed when the process
ends: a server that was started is told to end, and stopped if it does not. A process that is
forked begins with none.
"""

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import anyio
import httpx2
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from medgym.failures import traceback_wanted
from medgym.permissions import warn_in_clear

from .last_words import LastWords
from .target import Target

T = TypeVar("T")

TOKEN = "MEDGYM_MCP_TOKEN"
"""The variable of the environment that holds the token for servers that ask for one."""

CONNECT_S = 60.0
"""Seconds in which a server that is started or called for the first time answers. It may load a
model."""

CLOSE_S = 8.0
"""Seconds that closing all connections may take: a server gets two to end, then two more."""

MOST_EVENT = 64 * 2**20
"""Bytes of one answer over HTTP."""

ATTEMPTS = 2
"""Times that a call is made when the connection is lost under it."""

PAGES = 50
"""Pages of a list of tools that are read."""


class LostConnection(Exception):
    """The server is gone, or cannot be reached. The text says which, and why.

    Attributes:
        wrote: the last line that a server which was started wrote to stderr. It may hold anything,
            so it is shown to the user and not recorded.
    """

    def __init__(self, text: str, wrote: str = "") -> None:
        super().__init__(text)
        self.wrote = wrote


class _Loop:
    """The thread on which all connections of this process live, and these."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.connections: dict[tuple[str, ...], _Connection] = {}

    def running(self) -> asyncio.AbstractEventLoop:
        with self.lock:
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self.loop.run_forever, name="medgym-mcp", daemon=True
                ).start()
                atexit.register(close_connections)
            return self.loop


_LOOP = _Loop()


def _begin_again() -> None:
    global _LOOP
    _LOOP = _Loop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


def tools_of(target: Target) -> list[types.Tool]:
    """The tools that a server lists.

    Raises:
        LostConnection: it cannot be reached.
        TimeoutError: it does not answer in time.
        MCPError: it refuses.
    """

    async def listed(client: Client) -> list[types.Tool]:
        found: list[types.Tool] = []
        cursor: str | None = None
        for _ in range(PAGES):
            page = await client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    return _done(target, listed, CONNECT_S)


def call(target: Target, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
    """What a server's tool yields.

    Raises:
        LostConnection: the connection was lost, and lost again.
        TimeoutError: it does not answer in time.
        MCPError: it refuses.
    """

    async def called(client: Client) -> types.CallToolResult:
        return await client.call_tool(name, arguments)

    return _done(target, called, target.timeout)


def close_connections() -> None:
    """Close all connections of this process. A later call makes them again."""
    state = _LOOP
    with state.lock:
        loop, state.loop = state.loop, None
        open_now = list(state.connections.values())
        state.connections.clear()
    if loop is None or loop.is_closed():
        return

    async def close() -> None:
        await asyncio.gather(*(each.close() for each in open_now), return_exceptions=True)

    try:
        asyncio.run_coroutine_threadsafe(close(), loop).result(CLOSE_S)
    except TimeoutError:
        pass
    finally:
        loop.call_soon_threadsafe(loop.stop)


def _done(target: Target, do: Callable[[Client], Awaitable[T]], limit: float) -> T:
    """`do` with the server's client, on the thread of the connections."""
    for attempt in range(1, ATTEMPTS + 1):
        work: Coroutine[Any, Any, T] = _with_client(target, do, limit)
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, _LOOP.running())
        try:
            return future.result()
        except LostConnection:
            if attempt == ATTEMPTS:
                raise
        finally:
            del future  # an error in it would hold this frame, and so the episode's images
    raise AssertionError("unreachable")


async def _with_client(target: Target, do: Callable[[Client], Awaitable[T]], limit: float) -> T:
    connections = _LOOP.connections
    connection = connections.get(target.server)
    if connection is None or connection.is_lost:
        connection = connections[target.server] = _Connection(target)
    client = await connection.client()
    try:
        return await asyncio.wait_for(do(client), limit)
    except TimeoutError:
        raise
    except MCPError as error:
        # A server that was started again does not know the session of before.
        forgotten = error.code == types.INVALID_REQUEST and error.message == "Session terminated"
        if error.code != types.CONNECTION_CLOSED and not forgotten:
            raise
        wrote = await connection.last_words()
        connection.lose()
        did = "closed the connection" if target.url else "ended"
        raise LostConnection(f"{target.name} {did}", wrote) from error
    except _TRANSPORT as error:
        connection.lose()
        raise LostConnection(f"{target.name} cannot be reached ({type(error).__name__})") from error


_TRANSPORT = (httpx2.TransportError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What the SDK lets through when a transport breaks."""


class _Connection:
    """A client and the task that entered it, which alone may leave it."""

    def __init__(self, target: Target) -> None:
        self.is_lost = False
        self._target = target
        self._refused = 0  # the last status of HTTP that says no
        self._words: LastWords | None = None
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._client.add_done_callback(_retrieved)
        self._end = asyncio.Event()
        self._task = asyncio.create_task(self._serve())

    async def client(self) -> Client:
        """The client, once it is connected."""
        return await asyncio.shield(self._client)

    async def last_words(self) -> str:
        """What a server that was started wrote before it ended, as far as it is known."""
        return "" if self._words is None else await self._words.text()

    def lose(self) -> None:
        """Leave it: it serves no more calls."""
        self.is_lost = True
        self._end.set()

    async def close(self) -> None:
        """Leave it, and wait until a server that was started has ended."""
        self.lose()
        if not self._client.done():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _serve(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(CONNECT_S):
                        client = await stack.enter_async_context(await self._made(stack))
                except Exception as error:
                    raise self._unreachable(error, await self.last_words()) from error
                self._client.set_result(client)
                await self._end.wait()
        except BaseException as error:
            self.is_lost = True
            if not self._client.done():
                is_told = isinstance(error, LostConnection)
                self._client.set_exception(error if is_told else self._unreachable(error, ""))
            elif not isinstance(error, Exception):
                raise

    def _unreachable(self, error: BaseException, wrote: str) -> LostConnection:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        said = type(error).__name__
        if isinstance(error, TimeoutError):
            said = f"no answer in {CONNECT_S:g} s"
        elif isinstance(error, FileNotFoundError):
            said = "no such program"
        elif self._refused in (401, 403):
            said = f"status {self._refused}; fix: set {TOKEN} to its token"
        elif self._refused:
            said = f"status {self._refused}"
        elif not self._target.url:
            said = "it ended"
        return LostConnection(f"{self._target.name} cannot be reached ({said})", wrote)

    async def _made(self, stack: AsyncExitStack) -> Client:
        target = self._target
        if not target.url:
            first, *others = target.command
            # It gets no variable of ours that may hold a key, which is the SDK's rule. What it
            # writes to stderr is no part of our output, but for its last line where it ends.
            started = StdioServerParameters(command=first, args=others)
            if traceback_wanted():
                return Client(stdio_client(started, errlog=sys.stderr), cache=None)
            self._words = LastWords()
            stack.callback(self._words.close)
            return Client(stdio_client(started, errlog=self._words.stream), cache=None)
        headers = {}
        token = os.environ.get(TOKEN)
        if token is not None and target.gets_token:
            warn_in_clear(target.url)
            headers["authorization"] = f"Bearer {token}"
        http = await stack.enter_async_context(
            httpx2.AsyncClient(
                headers=headers,
                timeout=httpx2.Timeout(30.0, read=None),
                event_hooks={"response": [self._note_status]},
            )
        )
        transport = streamable_http_client(
            target.url, http_client=http, max_sse_event_size=MOST_EVENT
        )
        return Client(transport, cache=None)

    async def _note_status(self, response: httpx2.Response) -> None:
        if response.status_code >= 400:
            self._refused = response.status_code


def _retrieved(future: "asyncio.Future[Client]") -> None:
    if not future.cancelled():
        future.exception()
