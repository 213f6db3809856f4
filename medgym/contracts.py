"""What a policy and a tool return, checked where it arrives.

A wrong value is found at once and blamed on the plug-in that gave it, not on the part of medgym
that would stumble over it later.
"""

from collections.abc import Mapping
from typing import get_args

from medgym.errors import Fault, ToolError
from medgym.failures import ContractError
from medgym.messages import Malformed, Reply, Usage
from medgym.tool import ToolResult


def checked_reply(given: object) -> Reply:
    """What a policy replied; a plain text is a reply.

    Raises:
        ContractError: it is something else, or a field of it is.
    """
    if isinstance(given, str):
        return Reply(given)
    if not isinstance(given, Reply):
        raise ContractError(f"replied with {_kind(given)}; expected a medgym.Reply")
    text: object = given.text
    if not isinstance(text, str):
        raise ContractError(f"replied with {_kind(text)} as the text; expected a str")
    for name in ("prompt_ids", "token_ids", "logprobs"):
        value: object = getattr(given, name)
        if not isinstance(value, tuple | None):
            raise ContractError(f"replied with {_kind(value)} as {name}; expected a tuple or None")
    if not isinstance(given.image_tokens, tuple):
        raise ContractError(f"replied with {_kind(given.image_tokens)} as image_tokens")
    if not isinstance(given.malformed, Malformed | None):
        raise ContractError(f"replied with {_kind(given.malformed)} as malformed")
    if not isinstance(given.usage, Usage | None):
        raise ContractError(f"replied with {_kind(given.usage)} as usage")
    return given


def checked_result(given: object) -> ToolResult:
    """What a tool returned.

    Raises:
        ContractError: it is no `ToolResult`, or a field of it is of another type.
    """
    if not isinstance(given, ToolResult):
        raise ContractError(f"returned {_kind(given)}; expected a medgym.ToolResult")
    text: object = given.text
    views: object = given.views
    data: object = given.data
    if not isinstance(text, str):
        raise ContractError(f"returned {_kind(text)} as the text; expected a str")
    if not isinstance(views, tuple | list):
        raise ContractError(f"returned {_kind(views)} as views; expected a tuple of views")
    if not isinstance(data, Mapping):
        raise ContractError(f"returned {_kind(data)} as data; expected a mapping")
    return given


def fault_of(error: ToolError) -> Fault:
    """What was wrong with a refused call; a tool that says nothing known means the value."""
    said: object = getattr(error, "fault", None)
    known: tuple[Fault, ...] = get_args(Fault)
    return next((fault for fault in known if fault == said), "value")


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
