"""What a broken or hostile server may answer, as scripts of the fake one."""

import gzip
import time
from contextlib import suppress
from functools import cache
from typing import Any

from tests.serving.fake_server import Handler, Script, answer, failing, hang

DEEP = b"[" * 200_000
LONG = 20 * 2**20
"""Bytes, which are more than any answer may have."""


@cache
def bomb() -> bytes:
    """Few bytes that unpack to very many."""
    return gzip.compress(bytes(64 * 2**20), 1)


def raw(body: bytes, status: int = 200, **headers: str) -> Script:
    """Answers with these bytes."""

    def say(handler: Handler, _: Any) -> None:
        handler.send_response(status)
        for name, text in headers.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        with suppress(OSError):  # whoever asked may have read enough
            handler.wfile.write(body)

    return say


def gzip_bomb(handler: Handler, body: Any, status: int = 200) -> None:
    raw(bomb(), status, Content_Encoding="gzip")(handler, body)


def endless(handler: Handler, _: Any) -> None:
    """Sends a reply of 20 MiB, and does not say how long it is."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    with suppress(OSError):
        handler.wfile.write(b'{"choices": [{"message": {"content": "')
        for _ in range(LONG // 2**16):
            handler.wfile.write(b"x" * 2**16)
        handler.wfile.write(b'"}}]}')
    handler.close_connection = True


def drip(handler: Handler, _: Any) -> None:
    """Sends a byte now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b" ")
            time.sleep(0.05)
    handler.close_connection = True


def words(text: bytes) -> Script:
    """Writes these bytes instead of HTTP."""

    def say(handler: Handler, _: Any) -> None:
        with suppress(OSError):
            handler.wfile.write(text)
        handler.close_connection = True

    return say


def value(content: Any, status: int = 200) -> Script:
    """Answers with the JSON of a value."""
    return lambda handler, _: handler.say(content, status)


def message(**fields: Any) -> Script:
    """Answers with a message of these fields."""
    return value({"choices": [{"message": {"role": "assistant", **fields}}]})


def choice(**fields: Any) -> Script:
    """Answers with a choice of these fields, whose message is whole unless they say otherwise."""
    return value({"choices": [{"message": {"content": "<answer>A</answer>"}, **fields}]})


def broken_off(handler: Handler, _: Any) -> None:
    handler.break_off()


BODIES: dict[str, tuple[Script, str]] = {
    "deep": (raw(DEEP), "answers JSON that is nested too deeply"),
    "deep error": (raw(DEEP, 400), r"answers 400: \[\["),
    "a web page": (raw(b"<!doctype html><p>Welcome"), "answers a web page"),
    "nothing": (raw(b""), "answers an empty body"),
    "no JSON": (raw(b"{'a': 1}"), "answers a body that is not JSON"),
    "half of it": (raw(b'{"choices": [{"mess'), "answers a body that is not JSON"),
    "latin-1": (raw(b'{"data": "\xe9"}'), "answers a body that is not JSON"),
    "a long number": (raw(b"9" * 5000), "answers a body that is not JSON"),
    "endless": (endless, "answers 200: a body of over 1[67] MiB"),
    "gzip bomb": (gzip_bomb, "answers 200: a body of over 1[67] MiB"),
    "gzip in gzip": (
        raw(b"x", Content_Encoding="gzip, gzip"),
        "answers 200: a body in the encoding gzip, gzip",
    ),
    "bomb in an error": (lambda h, b: gzip_bomb(h, b, 400), "answers 400: "),
    "brotli": (raw(b"x", Content_Encoding="br"), "answers 200: a body in the encoding br"),
    "gzip without its end": (
        raw(gzip.compress(b'{"data": [], "choices": []}')[:-8], Content_Encoding="gzip"),
        "answers what cannot be read",
    ),
    "no gzip": (raw(b"x" * 99, Content_Encoding="gzip"), "answers what cannot be read"),
    "no HTTP": (words(b"SSH-2.0-OpenSSH_9.6\r\n"), "answers what cannot be read"),
    "broken off": (broken_off, "answers what cannot be read"),
    "a long header": (raw(b"{}", X_Long="x" * 300_000), "answers what cannot be read"),
    "hangs": (hang, "no answer within 0.5 s"),
    "drips": (drip, "no answer within 0.5 s"),
    "500": (failing(500), "answers 500: not now"),
    "a page of 502": (raw(b"<h1>Bad\n\x1b[31mGateway</h1>", 502), r"answers 502: <h1>Bad \[31mGat"),
    "no words": (raw(b"", 418), "answers 418: I'm a Teapot"),
    "moved": (raw(b"", 302, Location="http://127.0.0.1:9/v1"), "answers 302: Found"),
    "an old date": (
        raw(b"", 400, Retry_After="Mon, 01 Jan 0001 00:00:00 -0000"), "answers 400: Bad Request"
    ),
}  # fmt: skip
"""Bodies that no request can use, and what is said of them."""

SLOW = {"hangs", "drips"}
"""Those of `BODIES` that have no end."""

CHOICES: dict[str, tuple[Script, str]] = {
    "an error of 200": (value({"error": {"message": "busy\n"}}), "answers busy"),
    "an error of another form": (value({"error": [1]}), "answers an error"),
    "a text": (value("x"), "unexpected reply, TypeError: the answer is a str"),
    "NaN": (raw(b"NaN"), "unexpected reply, TypeError: the answer is a float"),
    "no choices": (value({}), "unexpected reply, KeyError: 'choices'"),
    "none of them": (value({"choices": None}), "unexpected reply, TypeError: choices"),
    "choices of a dict": (value({"choices": {"0": 1}}), "unexpected reply, TypeError: choices"),
    "a choice of null": (value({"choices": [None]}), "unexpected reply, TypeError: the choice"),
    "no message": (choice(message=None), "unexpected reply, TypeError: the message"),
    "parts": (message(content=[{"image": "x"}]), "unexpected reply, TypeError: the content"),
    "a number": (message(content=7), "unexpected reply, TypeError: the content is a int"),
    "a thought of parts": (message(content="x", reasoning=["x"]), "TypeError: the thought"),
    "odd reason": (choice(finish_reason=["stop"]), "unexpected reply, TypeError"),
    "aborted": (choice(finish_reason="abort"), "ended a reply by 'abort'"),
    "odd ids": (
        value({"prompt_token_ids": 5, "choices": [{"message": {"content": "x"}}]}),
        "TypeError: the tokens that were read is a int",
    ),
    "ids of text": (
        value({
            "prompt_token_ids": [1], "choices": [{"message": {"content": "x"}, "token_ids": ["1"]}]
        }),
        "TypeError: the sampled tokens are no token ids",
    ),
}  # fmt: skip
"""Answers of JSON that hold no reply, and what is said of them."""

WITHHELD: dict[str, tuple[Script, str]] = {
    "empty choices": (value({"choices": []}), "empty: .*answers without a reply"),
    "null": (message(content=None), "empty: .* answers a message without text"),
    "no content": (message(), "empty: "),
    "calls": (
        message(content=None, tool_calls=[{"function": {"name": "zoom"}}]),
        "empty: .*; fix: add .tools=native",
    ),
    "filter": (answer("half a rep", finish_reason="content_filter"), "filtered: "),
    "filter of null": (choice(message=None, finish_reason="CONTENT_FILTER"), "filtered: "),
    "filter of the question": (
        value({"error": {"message": "was filtered", "code": "content_filter"}}, 400),
        r"filtered: .*\(400: was filtered\)",
    ),
    "refusal": (message(content=None, refusal="I\ncannot"), r"refused: .*\(it says 'I cannot'\)"),
    "refusal beside text": (message(content="x", refusal="no"), "refused: "),
    "refusal by reason": (choice(finish_reason="refusal"), "refused: "),
}  # fmt: skip
"""Answers in which the server withholds the reply, and what is said of them."""

LISTS: dict[str, Script] = {
    name: value(content)
    for name, content in {
        "a text": "x", "null": None, "a list": ["x"], "no data": {},
        "data of null": {"data": None}, "data of text": {"data": "abc"},
        "data of dicts": {"data": {"id": "base"}}, "ids of numbers": {"data": [{"id": 1}]},
        "models of lists": {"data": [["id"]]},
    }.items()
}  # fmt: skip
"""Lists of models that are none."""
