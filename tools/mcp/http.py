"""A server over streamable HTTP: on this machine for anyone on it, elsewhere only with a token.

Without a token the server listens on a loopback address alone, and refuses requests that a web page
of another name sends (DNS rebinding). With a token every request carries it, `Authorization: Bearer
TOKEN`; it is compared in constant time, and written nowhere.
"""

import hashlib
import hmac
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server import Server
from mcp.server.transport_security import TransportSecuritySettings

from medgym.errors import RunError, UserError
from medgym.files import read_text
from medgym.permissions import is_loopback

TOKEN = "MEDGYM_MCP_TOKEN"
"""The variable of the environment that holds the token."""

SHORTEST = 16
"""Characters of a token. A shorter one could be guessed."""

MOST_SESSIONS = 64
"""Connections of clients of earlier versions of the protocol, which has had sessions."""

IDLE_S = 1800.0
"""Seconds after which such a session ends when nothing is asked in it."""

MOST_BODY = 2**20
"""Bytes of a request. A call holds some numbers."""

_Scope = dict[str, Any]
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]
_Application = Callable[[Any, Any, Any], Awaitable[None]]


def address_of(text: str) -> tuple[str, int]:
    """The host and the port of `HOST:PORT`, or of `[HOST]:PORT`.

    Raises:
        UserError: it is no such text.
    """
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise UserError(
            f"--http {text!r} is no address; fix: write HOST:PORT, such as 127.0.0.1:8765"
        )
    return bare, int(port)


def token_of(file: Path | None) -> str | None:
    """The token of a file, or of the environment; None where neither is given.

    Raises:
        UserError: it is too short or has characters that a header cannot hold, or others can read
            the file.
    """
    if file is None:
        token, where = os.environ.get(TOKEN), TOKEN
        if token is None:
            return None
    else:
        try:
            token, where = read_text(file, "file with the token").strip(), str(file)
        except UnicodeDecodeError:
            raise UserError(f"{file} is no text; fix: write the token into it") from None
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise UserError(f"others can read {file}; fix: chmod 600 {file}")
    if len(token) < SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
        raise UserError(
            f"the token of {where} is no good; fix: use {SHORTEST} or more letters and digits, as "
            "python -c 'import secrets; print(secrets.token_urlsafe())' makes them"
        )
    return token


def check_address(host: str, token: str | None) -> None:
    """Refuse to listen where others can connect who show no token.

    Raises:
        UserError: the address is not this machine's own, and there is no token.
    """
    if token is None and not is_loopback(host):
        raise UserError(
            f"anyone who reaches {host} could see the images; fix: listen on 127.0.0.1, or give a "
            f"token by --token-file or {TOKEN}"
        )


def application(server: "Server[Any]", token: str | None) -> _Application:
    """What answers requests at `/mcp`, and refuses those without the token if there is one."""
    app = server.streamable_http_app(
        json_response=True,  # an image may be larger than clients allow an event to be
        max_request_body_size=MOST_BODY,
        session_idle_timeout=IDLE_S,
        max_sessions=MOST_SESSIONS,
        # A page of another name has no token.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False)
        if token is not None
        else None,
    )
    return app if token is None else _with_token(app, token)


def listen(server: "Server[Any]", host: str, port: int, token: str | None) -> None:
    """Serve until the process is asked to end.

    Raises:
        UserError: as `check_address`.
        RunError: the address is taken, or is not this machine's.
    """
    check_address(host, token)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise RunError(
                f"cannot listen on {host}:{port} ({error.strerror}); fix: choose another address"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        # On stdout and at once: a program that starts the server reads the port there.
        print(f"http://{shown}:{listening.getsockname()[1]}/mcp", flush=True)
        uvicorn.Server(
            uvicorn.Config(
                application(server, token),
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        ).run([listening])


def _with_token(app: _Application, token: str) -> _Application:
    wanted = _digest(f"Bearer {token}".encode())

    async def guarded(scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        given = [value for name, value in scope.get("headers", ()) if name == b"authorization"]
        # Digests, so that not even the token's length shows in the time.
        right = hmac.compare_digest(_digest(given[0] if len(given) == 1 else b""), wanted)
        if right and scope["type"] == "http":
            return await app(scope, receive, send)
        if scope["type"] == "http":
            headers = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

    return guarded


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
