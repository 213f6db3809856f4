"""The body of a server's answer: read up to a limit, and its JSON or its message taken out.

What arrives is counted as it is unpacked, so that neither an endless body nor a small compressed
one fills the memory. Nothing here trusts the server to keep to a form.
"""

import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp

MOST = 16 * 2**20
"""Bytes of an answer, unpacked: a list of some thousand models, or a reply and the ids of a million
tokens that were read."""

MOST_FOR_A_TOKEN = 2**10
"""Bytes of an answer beyond that for each token of a reply, whose log-probability comes with its
text and its bytes."""

_MOST_OF_AN_ERROR = 2**16
"""Bytes of an answer with an error status that are looked at."""

ENCODINGS = ("gzip", "deflate")
"""The compressions that a request allows. One at a time: a chain of them can unpack to nearly
nothing and take hours."""

_SHOWN = 160
"""Characters of a server's message in an error."""


class Refused(Exception):
    """The server answered, and asking again would not help: with an error, or with too much.

    Attributes:
        status: of the answer.
        retry_after: seconds for which it asks to wait.
        code: how the server names its error, "" where it does not.
    """

    def __init__(
        self, status: int, said: str, retry_after: float | None = None, code: str = ""
    ) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status
        self.retry_after = retry_after
        self.code = code


class NoJSON(Exception):
    """The body is no JSON; says what it is instead."""


async def read_body(answer: "aiohttp.ClientResponse", most: int) -> bytes:
    """The body, unpacked. Of an answer with an error status, only its beginning.

    Raises:
        Refused: it is longer than `most`, or packed in a way that was not asked for.
        zlib.error: it cannot be unpacked.
    """
    packed = answer.headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("", "identity", *ENCODINGS):
        raise Refused(answer.status, f"a body in the encoding {one_line(packed)[:40]}")
    failed = answer.status >= 300
    most = _MOST_OF_AN_ERROR if failed else most
    body = bytearray()
    unpacker = None
    async for part in answer.content.iter_any():
        if packed in ENCODINGS:
            unpacker = unpacker or _unpacker(packed, part)
            part = unpacker.decompress(part, most + 1 - len(body))
        body += part
        if len(body) > most:
            if failed:
                break
            raise Refused(answer.status, f"a body of over {most / 2**20:.0f} MiB")
    if unpacker is not None and not unpacker.eof and len(body) <= most:
        raise zlib.error("a body that is cut short")
    return bytes(body)


def _unpacker(packed: str, first: bytes) -> Any:
    """What unpacks a body that begins so; `deflate` is zlib's form, or the bare stream."""
    if packed == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    return zlib.decompressobj(zlib.MAX_WBITS if first[0] & 15 == 8 else -zlib.MAX_WBITS)


def read_json(body: bytes) -> Any:
    """The value of a body.

    Raises:
        NoJSON: it is something else.
    """
    try:
        return json.loads(body)
    except RecursionError:
        raise NoJSON("JSON that is nested too deeply") from None
    except ValueError as error:
        if not body.strip():
            what = "an empty body"
        elif body.lstrip()[:1] == b"<":
            what = "a web page"
        else:
            what = f"a body that is not JSON ({one_line(str(error))[:80]})"
        raise NoJSON(what) from None


def error_of(body: bytes) -> tuple[str, str]:
    """The message and the code of an error: of `{"error": {"message": ..., "code": ...}}`, else all
    of the body and no code."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    error = value.get("error", value) if isinstance(value, dict) else value
    said, code = error, None
    if isinstance(error, dict):
        said, code = error.get("message"), error.get("code")
    if not isinstance(said, str):
        said = body.decode("utf-8", "replace")
    return one_line(said)[:_SHOWN], code if isinstance(code, str) else ""


def one_line(text: str) -> str:
    """A server's words in one line, without what a terminal would take for a command."""
    printable = (each if each.isprintable() else " " for each in text[:4096])
    return " ".join("".join(printable).split())
