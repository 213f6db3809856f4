"""The options after the `?` of an endpoint's URL."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from medgym.errors import UserError, unknown
from medgym.redaction import HIDDEN, secret_values
from medgym.spec import kinds_of, read_options
from medgym.tool_form import tool_form_of


@dataclass(frozen=True)
class EndpointOptions:
    """The options after the `?` of the URL.

    Attributes:
        concurrency: requests in flight at once.
        timeout: seconds for one request.
        retries: retries of a request that failed.
        processor: folder or hub name of the model's processor, where it is not the folder that the
            server names.
        tool_form: how the model is offered tools and calls them.
        tools: whether the text of the system message lists them, or the request (`native`).
        extra: fields of the request's body, as a JSON object.
    """

    concurrency: int = 64
    timeout: float = 120.0
    retries: int = 4
    processor: str = ""
    tool_form: str = "text"
    tools: str = "text"
    extra: str = ""

    @property
    def by_messages(self) -> bool:
        """Whether the server is to render the messages, and not we."""
        return self.tools == "native" or bool(self.extra)

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """The fields of `extra`.

        Raises:
            UserError: it is no JSON object, or has a field that medgym sets.
        """
        return read_extra(self.extra)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the fields hold under a secret's name."""
        return secret_values(self.fields)


SET = (
    "model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed",
    "tools", "n", "stream", "return_token_ids", "logprobs", "bad_words", "stop_token_ids",
)  # fmt: skip
"""Fields of a request that medgym sets, or on which it relies as they are by default. How else a
server samples (`top_k`, penalties) is free: with `extra` no reply can train."""


def read_extra(text: str) -> Mapping[str, Any]:
    """The fields that an option `extra` adds to each request.

    Raises:
        UserError: see `EndpointOptions.fields`.
    """
    if not text:
        return {}
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise UserError(
            'openai: extra is no JSON object; fix: write ?extra={"NAME":VALUE}, with %26 for &, '
            "%23 for # and %3F for ?"
        )
    if taken := sorted(fields.keys() & set(SET)):
        raise UserError(
            f"openai: extra sets {', '.join(taken)}, which medgym sets itself; fix: leave it out, "
            "and use the command's own options"
        )
    if HIDDEN in text:
        raise UserError(
            f"openai: a secret in extra is written as {HIDDEN}, as records have it; fix: write the "
            "secret itself"
        )
    return fields


def read_endpoint_options(query: str) -> EndpointOptions:
    """The options of a URL's query.

    Raises:
        UserError: an unknown option, or a value that cannot be.
    """
    options = EndpointOptions(**read_options("openai", query, kinds_of(EndpointOptions)))
    if options.concurrency < 1 or not options.timeout > 0 or options.retries < 0:
        raise UserError(
            f"openai: {query}: concurrency is at least 1, timeout above 0 and retries at least 0; "
            "fix: correct the options after the ?"
        )
    form = tool_form_of("openai", options.tool_form)
    if options.tools not in TOOLS:
        raise unknown("tools of openai", options.tools, TOOLS)
    if form == "native" and options.by_messages:
        raise UserError(
            "openai: tool_form=native renders the conversation here, and tools=native and extra "
            "let the server render it; fix: omit one of them"
        )
    _ = options.fields  # refused now, if at all
    return options


TOOLS = ("text", "native")
"""Who lists the tools: the text of the system message, or the request."""


def header_value(key: str) -> str:
    """An API key as it may stand in a header.

    Raises:
        UserError: no header can hold it.
    """
    if not re.fullmatch(r"[!-~]+", key):
        raise UserError(
            "the API key has a space or a character that is not ASCII, and no server can be sent "
            "that; fix: set MEDGYM_API_KEY or OPENAI_API_KEY to the key and nothing else"
        )
    return key
