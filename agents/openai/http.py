"""An HTTP endpoint that may fail: retried with back-off, bounded, and every failure typed.

A request is repeated after a connection error, a time-out, a reply that breaks off or is no JSON,
and the statuses 408, 425, 429 and 5xx; it waits as long as `Retry-After` says, else twice as long
each time, with a jitter that comes from a seed. Repeating is safe: what samples carries its seed.
"""

import asyncio
import base64
import email.utils
import random
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2

from medgym.failures import reason_of
from medgym.seeds import seed_of

from ..event_loop import BackgroundLoop

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the first repetition, and at most before a later one."""

LONGEST_WAIT = 120.0
"""Seconds that a server's Retry-After is obeyed for at most."""

IDLE = 3.0
"""Seconds that an idle connection is kept: less than the 5 s after which uvicorn closes it, for a
request on a connection that is just being closed fails."""

_AGAIN = {408, 425, 429}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Refused(Exception):
    """The server answered with an error: its status, what it said, and how long it asks to wait."""

    def __init__(self, status: int, said: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status
        self.retry_after = retry_after


class Unreachable(Exception):
    """No usable answer came, at the first attempt and at every repetition; says why."""


class Endpoint:
    """One server, given by its URL.

    Attributes:
        url: the URL without a password, as errors and runs may show it.

    Args:
        url: where requests go, without a slash at the end; a user and a password that stand before
            the host are sent with each request.
        key: sent as a bearer token, where there is one and the URL names no user.
        concurrency: requests in flight at once; others wait.
        timeout: seconds for one request, from sending to the last byte.
        retries: repetitions of a request that failed.
    """

    def __init__(
        self, url: str, *, key: str | None, concurrency: int, timeout: float, retries: int
    ) -> None:
        parts = urlsplit(url)
        user, _, place = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=place).geturl()
        self._headers = {}
        if user:
            told = base64.b64encode(unquote(user).encode()).decode()
            self._headers["Authorization"] = f"Basic {told}"
        elif key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._concurrency = concurrency
        self._timeout = timeout
        self._retries = retries
        self._background = BackgroundLoop("medgym endpoint")
        self._client: httpx2.AsyncClient | None = None
        self._free: asyncio.Semaphore | None = None
        self.run = self._background.run
        self.wait = self._background.wait

    def __getstate__(self) -> dict[str, Any]:
        # What travels to another process is where to ask, and as whom; connections stay.
        return vars(self) | {"_client": None, "_free": None}

    def _open(self) -> tuple[httpx2.AsyncClient, asyncio.Semaphore]:
        if self._client is None or self._free is None:
            limits = httpx2.Limits(
                max_connections=self._concurrency,
                max_keepalive_connections=self._concurrency,
                keepalive_expiry=IDLE,
            )
            self._client = httpx2.AsyncClient(
                headers=self._headers,
                timeout=None,  # `_once` holds the time of the whole request
                limits=limits,
                # A proxy of the environment does not know this machine's own addresses.
                trust_env=urlsplit(self.url).hostname not in _LOOPBACK,
            )
            self._free = asyncio.Semaphore(self._concurrency)
        return self._client, self._free

    async def ask(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        retries: int | None = None,
        want_json: bool = True,
    ) -> Any:
        """Send a request, on the background loop, and return the JSON of the reply.

        Args:
            method, url, body: what is sent, and where.
            seed: of the jitter between repetitions.
            retries: repetitions, where they differ from the endpoint's.
            want_json: False for a reply that may be any text.

        Raises:
            Refused: an answer that repeating would not change.
            Unreachable: no usable answer, however often.
        """
        left = self._retries if retries is None else retries
        attempt = 0
        while True:
            try:
                return await self._once(method, url, body, want_json)
            except Refused as error:
                reason = str(error)
                if error.status not in _AGAIN and error.status < 500:
                    raise
                delay = error.retry_after
            except (httpx2.HTTPError, TimeoutError, ValueError) as error:
                late = f"no answer within {self._timeout:g} s"
                reason = late if isinstance(error, TimeoutError) else reason_of(error)
                delay = None
            if attempt == left:
                raise Unreachable(reason + (f" ({attempt + 1} attempts)" if attempt else ""))
            if delay is None:
                jitter = random.Random(seed_of(seed, "retry", attempt)).uniform(0.5, 1.0)
                delay = min(FIRST_DELAY * 2**attempt, LONGEST_DELAY) * jitter
            attempt += 1
            await asyncio.sleep(delay)

    async def _once(
        self, method: str, url: str, body: Mapping[str, Any] | None, want_json: bool
    ) -> Any:
        client, free = self._open()
        async with free, asyncio.timeout(self._timeout):
            reply = await client.request(method, url, json=body)
        if reply.status_code >= 300:
            raise Refused(reply.status_code, _said(reply), _retry_after(reply))
        return reply.json() if want_json else reply.text

    def close(self) -> None:
        """Break off what runs and close all connections."""
        client, self._client, self._free = self._client, None, None
        self._background.close(client.aclose() if client is not None else None)


def _said(reply: httpx2.Response) -> str:
    """What an error's body says, in one line: `{"error": {"message": ...}}` or as it is."""
    try:
        value = reply.json()
        error = value.get("error", value)
        text = error["message"] if isinstance(error, dict) else error
    except (ValueError, AttributeError, KeyError):
        text = reply.text
    return " ".join(str(text).split())[:160]


def _retry_after(reply: httpx2.Response) -> float | None:
    """Seconds that the server asks us to wait, from a number or a date."""
    value = reply.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None
