"""An HTTP endpoint that may fail: retried with back-off, bounded, and every failure typed.

A request is retried after a connection error, a time-out, a reply that is interrupted or is not
JSON, and the statuses 408, 425, 429 and 5xx. It waits as long as `Retry-After` says, else twice as
long each time, with a jitter that comes from a seed. Retrying is safe: a request carries the seed
of its sampling.
"""

import asyncio
import base64
import email.utils
import json
import random
import time
import zlib
from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from medgym.errors import UserError
from medgym.failures import reason_of
from medgym.seeds import seed_of

from ..event_loop import BackgroundLoop
from .address import secrets_of, without, words_without
from .bodies import (
    ENCODINGS,
    MOST,
    MOST_FOR_A_TOKEN,
    NoJSON,
    Refused,
    error_of,
    read_body,
    read_json,
)
from .options import header_value

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the first retry, and at most before a later one."""

LONGEST_WAIT = 120.0
"""Seconds for which a server's Retry-After is obeyed at most."""

IDLE = 3.0
"""Seconds for which an idle connection is kept. uvicorn closes one after 5 s, and a request on a
connection that is being closed fails."""

LARGE = 2**20
"""Bytes of a body from which on it is sent in pieces, so that other requests go on meanwhile."""

UNREADABLE = (
    aiohttp.ClientPayloadError,
    aiohttp.ClientResponseError,
    aiohttp.ServerDisconnectedError,
    zlib.error,
)
"""What the library raises where an answer is no HTTP, is cut short, or cannot be unpacked."""

_WRITTEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_JSON = {"Content-Type": "application/json"}
_RETRIED = {408, 425, 429}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Unreachable(Exception):
    """No usable answer came, neither at the first attempt nor at any retry; says why.

    Attributes:
        answered: whether the server did answer at the last attempt, by what is of no use.
    """

    def __init__(self, reason: str, *, answered: bool) -> None:
        super().__init__(reason)
        self.answered = answered

    def at(self, url: str) -> str:
        """What the server at a URL did, for an error."""
        return f"{url} answers {self}" if self.answered else f"{url}: {self}"


class Endpoint:
    """One server, given by its URL.

    Attributes:
        url: the URL without a password, as errors and runs may show it.
        has_key: whether a key, or a user and a password, is sent.

    Args:
        url: where requests go, without a slash at the end. A user and a password before the host
            are sent with each request.
        key: sent as a bearer token, where there is one and the URL names no user.
        concurrency: requests in flight at once. Others wait.
        timeout: seconds for one request, from its first byte to the last byte of its reply.
        retries: retries of a request that failed.
        secrets: in the bodies of requests; a server's words are shown without them.

    Raises:
        UserError: no header can hold the key, or the proxy of the environment is no HTTP proxy.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        concurrency: int,
        timeout: float,
        retries: int,
        secrets: Collection[str] = (),
    ) -> None:
        parts = urlsplit(url)
        user, _, place = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=place).geturl()
        self._headers = {}
        self.has_key = bool(user or key)
        _proxy_of(self.url)  # one that cannot be used is told before any work
        self._secrets = secrets_of("", key, secrets)
        if user:
            encoded = base64.b64encode(unquote(user).encode()).decode()
            self._headers["Authorization"] = f"Basic {encoded}"
            self._secrets = secrets_of(unquote(user), encoded, secrets)
        elif key:
            self._headers["Authorization"] = f"Bearer {header_value(key)}"
        self._concurrency = self._in_flight = concurrency
        self._timeout = timeout
        self._retries = retries
        self._background = BackgroundLoop("medgym endpoint")
        self._session: aiohttp.ClientSession | None = None
        self._free: asyncio.Semaphore | None = None
        self.run = self._background.run
        self.wait = self._background.wait

    def __getstate__(self) -> dict[str, object]:
        # Another process gets the address and the key, and opens its own connections.
        return vars(self) | {"_session": None, "_free": None}

    def at_most(self, requests: int) -> None:
        """Have no more than `requests` in flight from here on, and never more than `concurrency`.
        What is in flight already is not counted."""
        self._in_flight, self._free = min(requests, self._concurrency), None

    def _opened(self) -> aiohttp.ClientSession:
        """The session with all connections, of which `_free` bounds the number."""
        if self._session is None:
            asyncio.get_running_loop().set_exception_handler(_told)
            self._session = aiohttp.ClientSession(
                headers={"Accept-Encoding": ", ".join(ENCODINGS)} | self._headers,
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None),
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # `read_body` counts what it unpacks
                # What the environment says of proxies is read here; of passwords (.netrc) nothing.
                trust_env=False,
                proxy=_proxy_of(self.url),
            )
        return self._session

    async def ask(
        self,
        method: str,
        url: str,
        body: Mapping[str, object] | None = None,
        *,
        seed: int = 0,
        retries: int | None = None,
        want_json: bool = True,
        tokens: int = 0,
    ) -> Any:
        """Send a request, on the background loop, and return the JSON of the answer.

        Args:
            method, url, body: the request.
            seed: of the jitter between retries.
            retries: retries, where their number is not the endpoint's.
            want_json: False for an answer that may be any text, and is not returned.
            tokens: that a reply may have; they bound the size of the answer.

        Raises:
            Refused: an answer that no retry would change.
            Unreachable: no usable answer after all retries.
        """
        left = self._retries if retries is None else retries
        attempt = 0
        while True:
            try:
                return await self._once(method, url, body, want_json, tokens)
            except Refused as error:
                reason, answered = str(error), True
                if error.status not in _RETRIED and error.status < 500:
                    raise
                delay = error.retry_after
            except NoJSON as error:
                reason, answered, delay = str(error), True, None
            except (aiohttp.ClientError, zlib.error, TimeoutError, ValueError, OSError) as error:
                said = words_without(self._secrets, str(error))
                reason, answered, delay = reason_of(error, said), False, None
                if isinstance(error, TimeoutError):
                    reason = f"no answer within {self._timeout:g} s"
                elif isinstance(error, aiohttp.ClientConnectorError):
                    why = str(error.os_error.strerror or error.os_error)
                    reason = f"cannot connect: {words_without(self._secrets, why)}"
                elif isinstance(error, UNREADABLE):
                    reason, answered = f"what cannot be read ({reason})", True
            if attempt == left:
                tried = f" ({attempt + 1} attempts)" if attempt else ""
                raise Unreachable(reason + tried, answered=answered)
            if delay is None:
                jitter = random.Random(seed_of(seed, "retry", attempt)).uniform(0.5, 1.0)
                delay = min(FIRST_DELAY * 2**attempt, LONGEST_DELAY) * jitter
            attempt += 1
            await asyncio.sleep(delay)

    async def _once(
        self,
        method: str,
        url: str,
        body: Mapping[str, object] | None,
        want_json: bool,
        tokens: int,
    ) -> Any:
        if self._free is None:
            self._free = asyncio.Semaphore(self._in_flight)
        most = MOST + tokens * MOST_FOR_A_TOKEN
        headers, data = {}, None
        if body is not None:
            sent = _WRITTEN.encode(body).encode()
            headers, data = _JSON, BytesIO(sent) if len(sent) > LARGE else sent
        async with (
            self._free,
            asyncio.timeout(self._timeout),
            self._opened().request(
                method, url, data=data, headers=headers, allow_redirects=False
            ) as answer,
        ):
            read = without(self._secrets, await read_body(answer, most))
        if answer.status >= 300:
            said, code = error_of(read)
            said = said or words_without(self._secrets, answer.reason or "")
            raise Refused(answer.status, said, _retry_after(answer), code)
        return read_json(read) if want_json else None

    def close(self) -> None:
        """Interrupt all requests and close all connections."""
        session, self._session, self._free = self._session, None, None
        self._background.close(session.close() if session is not None else None)


def _proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a server; none for one on this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    scheme, mark, _ = proxy.partition("://")
    if mark and scheme.lower() not in ("http", "https"):
        raise UserError(
            f"the environment names a {scheme[:10]} proxy for {host}; fix: name an HTTP proxy, or "
            f"set NO_PROXY={host}"
        )
    return proxy if mark else f"http://{proxy}"


def _told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave out what the library writes to stderr of a session that nobody closed: its connections
    close with it."""
    if not str(context.get("message", "")).startswith("Unclosed "):
        loop.default_exception_handler(context)


def _retry_after(reply: aiohttp.ClientResponse) -> float | None:
    """Seconds for which the server asks us to wait, from a number or a date."""
    value = reply.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None
