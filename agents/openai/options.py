"""The options after the `?` of an endpoint's URL."""

import re
from dataclasses import dataclass

from medgym.errors import UserError
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
    """

    concurrency: int = 64
    timeout: float = 120.0
    retries: int = 4
    processor: str = ""
    tool_form: str = "text"


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
    tool_form_of("openai", options.tool_form)
    return options


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
