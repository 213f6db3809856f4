"""The address of an endpoint: its URL, read so that a password never becomes a part of another."""

import json
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from medgym.errors import UserError
from medgym.redaction import HIDDEN, SHORTEST
from medgym.spec import shown


def read_address(rest: str, adapter: str | None) -> tuple[str, str, str]:
    """`URL[?option=value&...]#MODEL` as (URL, model, options).

    Raises:
        UserError: no URL, no model, or a user or password that is not written as a URL has it.
    """
    try:
        parts = urlsplit(rest)
        port = parts.port
    except ValueError:  # what should be a port is none
        raise _unwritten() from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        # Not shown: anything in it may be a password.
        raise UserError(
            "the policy openai: names no server; fix: write openai:http://HOST:PORT/v1#MODEL"
        )
    places = (parts.path, parts.query.partition("=")[0])
    if any("@" in place for place in places) or "#" in f"{parts.fragment}{adapter or ''}":
        raise _unwritten()
    if "?" in parts.fragment:
        raise UserError(
            "the options of the policy openai: stand after its model; fix: write "
            "openai:URL?option=value#MODEL, and %3F for a ? in the model's name"
        )
    if not parts.fragment:
        raise UserError(f"openai:{shown(rest)} names no model; fix: add #MODEL")
    url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    return url, unquote(parts.fragment), parts.query


def secrets_of(user: str, key: str | None, others: Iterable[str] = ()) -> tuple[bytes, ...]:
    """What a server is sent and must not come back in its words, in each way of writing it.

    Args:
        user: a user and a password, joined by a colon. key: of the header, encoded if it is a user.
        others: what else is secret in a request.
    """
    _, _, password = user.partition(":")
    secrets = {each for each in (password, key, *others) if each and len(each) >= SHORTEST}
    written = {*secrets}
    for _ in range(2):  # a server may repeat a request as text in its JSON
        written |= {json.dumps(form)[1:-1] for form in written}
    written |= {form.replace("/", "\\/") for form in written}
    return tuple(form.encode() for form in sorted(written, key=len, reverse=True))


_ESCAPE = re.compile(rb"\\(?:u([0-9A-Fa-f]{4})|.)", re.DOTALL)


def without(secrets: tuple[bytes, ...], body: bytes) -> bytes:
    """A server's answer without the secrets that it repeats, also in letters that JSON escapes."""
    if secrets and b"\\u" in body:
        body = _ESCAPE.sub(_plain, body)
    for secret in secrets:
        body = body.replace(secret, HIDDEN.encode())
    return body


def words_without(secrets: tuple[bytes, ...], text: str) -> str:
    """A server's words without the secrets that they repeat, before any of them is cut short."""
    return without(secrets, text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _plain(escape: re.Match[bytes]) -> bytes:
    """A character as `json.dumps` writes it, which means the same."""
    code = int(escape[1] or b"0", 16)
    if not 0x20 <= code < 0x7F:
        return escape[0] if escape[1] is None else escape[0].lower()
    return json.dumps(chr(code))[1:-1].encode()


def _unwritten() -> UserError:
    return UserError(
        "the URL of the policy openai: cannot be read; fix: if a password has one of / # ? @, "
        "write it as %2F %23 %3F %40, and a port as a number"
    )


def server_root(url: str) -> str:
    """Where vLLM's own routes are: beside `/v1`, not below it."""
    return url.removesuffix("/v1")
