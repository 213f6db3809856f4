"""Tools as the protocol itself has them: `?tools=native`.

A request names the tools with their schemas. The server takes the calls out of a reply, and each is
answered under its id by a message of the role `tool`. What the policy said is held in the form of
`medgym.messages`, in which all else of medgym reads replies. A reply of which that form can make no
calls is sent back as it is held, and what is wrong with it as a user's message.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from medgym.messages import (
    THOUGHT_TAGS,
    CallResult,
    Calls,
    ImagePart,
    Malformed,
    Message,
    Reply,
    ToolCall,
    Usage,
    parse_action,
    render_call,
    strict_json,
    thought_of,
)

from .chat_messages import ImageURIs, plain
from .replies import chat_reply, require

EXPECTED = (
    "expected one to four function calls, or <answer>...</answer> as the text, and nothing else "
    "beside a thought"
)

ARGUMENTS = "expected arguments that are a JSON object"


@dataclass(frozen=True)
class CalledReply(Reply):
    """A reply with what is sent back of it.

    Attributes:
        said: the text that the server gave beside the calls.
        ids: the id of each call.
    """

    said: str = ""
    ids: tuple[str, ...] = ()


def functions(conversation: Sequence[Message]) -> list[dict[str, Any]]:
    """The tools that a conversation offers, as a request names them."""
    offer = next((each.offer for each in conversation if each.offer is not None), None)
    return [] if offer is None else _functions(offer.schemas)


@lru_cache(maxsize=16)
def _functions(schemas: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": json.loads(schema)} for schema in schemas]


def called_reply(
    choice: Mapping[str, Any], url: str, opening: str, usage: Usage | None = None
) -> CalledReply:
    """The reply of a server that was offered tools, with its calls in medgym's form.

    A text beside calls is their thought. One that answers beside a call is malformed, and so are
    arguments that are no JSON object, as they are in medgym's form.

    Raises:
        Failure: the model refused, or the message has neither text nor calls.
        TypeError: a call is none.
    """
    said, cut = chat_reply(choice, url, opening, takes_calls=True)
    calls = [_call(each) for each in require(choice["message"].get("tool_calls") or [], list, "")]
    text = said
    if calls:
        text = _before_calls(said) + "\n".join(_written(*call) for _, *call in calls)
    action = parse_action(text, cut=cut)
    fault = None
    if isinstance(action, Malformed):
        expected = (
            "expected arguments that are a JSON object" if action.kind == "json" else EXPECTED
        )
        why = action.error.partition("; expected")[0]
        fault = Malformed(action.kind, f"{why}; {expected}", action.think)
    return CalledReply(
        text, cut=cut, malformed=fault, usage=usage, said=said,
        ids=tuple(name for name, *_ in calls),
    )  # fmt: skip


def _call(value: Any) -> tuple[str, str, str]:
    """The id, the name and the arguments of a call."""
    call = require(value, dict, "a call")
    function = require(call["function"], dict, "the function of a call")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):  # some servers send the object itself
        arguments = "" if arguments is None else json.dumps(arguments)
    name = call.get("id")
    return (
        name if isinstance(name, str) else "",
        require(function["name"], str, "the name of a function"),
        arguments,
    )


def _before_calls(said: str) -> str:
    """What a reply's text is in front of its calls: a thought, or what makes them malformed."""
    thought = thought_of(said)
    rest = said[len(thought) :].strip()
    if not rest:
        return thought
    if "<answer>" in rest:
        return f"{said}\n"
    rest = rest.replace("</think>", "< /think>")
    for begin, end in THOUGHT_TAGS:
        if thought.lstrip().startswith(begin):
            return f"{thought.removesuffix(end)}\n{rest}{end}"
    return f"<think>{rest}</think>"


def _written(name: str, arguments: str) -> str:
    """A call in medgym's form; one whose arguments cannot be read has them as they are."""
    try:
        value = strict_json(arguments) if arguments.strip() else {}
        if isinstance(value, dict):
            return render_call(name, value)
    except (ValueError, RecursionError):
        pass
    kept = arguments.replace("</tool_call>", "<\\/tool_call>")
    return f'<tool_call>{{"name": {json.dumps(name)}, "arguments": {kept}}}</tool_call>'


def function_messages(
    conversation: Sequence[Message], images: ImageURIs, *, tools_show: bool
) -> list[dict[str, object]]:
    """The conversation as the `messages` of a request that offers tools.

    Args:
        conversation: the messages so far. images: encodes their images.
        tools_show: whether a tool's message may hold images. Else they follow in a user's message.
    """
    sent: list[dict[str, object]] = []
    open_calls: tuple[str, ...] = ()
    for turn, message in enumerate(conversation):
        if message.role == "assistant":
            open_calls = _said(message, turn, sent)
        elif message.role == "tool" and open_calls:
            _answered(message, open_calls, images, sent, tools_show=tools_show)
            open_calls = ()
        else:
            text = message.offer.instructions if message.offer is not None else message.text
            role = "user" if message.role == "tool" else message.role
            sent.append({"role": role, "content": _content(text, message.images, images)})
    return sent


def _said(message: Message, turn: int, sent: list[dict[str, object]]) -> tuple[str, ...]:
    """Add what the policy said; returns the ids of the calls that are to be answered."""
    reply = message.reply or Reply(message.text)
    action = reply.malformed or parse_action(message.text, cut=reply.cut)
    if not isinstance(action, Calls):
        sent.append({"role": "assistant", "content": plain(message.text)})
        return ()
    made = tuple(f"call_{turn}_{number}" for number in range(len(action.calls)))
    text, ids = thought_of(message.text), made
    if isinstance(reply, CalledReply) and len(reply.ids) == len(made):
        text = reply.said
        if all(reply.ids) and len(set(reply.ids)) == len(made):
            ids = reply.ids
    calls = [_sent(name, call) for name, call in zip(ids, action.calls, strict=True)]
    sent.append({"role": "assistant", "content": plain(text) or None, "tool_calls": calls})
    return ids


def _sent(name: str, call: ToolCall) -> dict[str, object]:
    arguments = plain(json.dumps(call.arguments, ensure_ascii=False))
    function = {"name": call.name, "arguments": arguments}
    return {"id": name, "type": "function", "function": function}


def _answered(
    message: Message,
    ids: tuple[str, ...],
    images: ImageURIs,
    sent: list[dict[str, object]],
    *,
    tools_show: bool,
) -> None:
    """Add an answer to each call, and the images that the answers cannot hold."""
    results = message.results
    if len(results) != len(ids):
        others = (CallResult("See the first result."),) * (len(ids) - 1)
        results = (CallResult(message.text, message.images), *others)
    for name, result in zip(ids, results, strict=True):
        shown = result.images if tools_show else ()
        content = _content(result.text, shown, images)
        sent.append({"role": "tool", "tool_call_id": name, "content": content})
    if message.images and not tools_show:
        views = ", ".join(str(part.view) for part in message.images)
        text = f"The images of the results, in their order: view {views}."
        sent.append({"role": "user", "content": _content(text, message.images, images)})


def _content(text: str, shown: Sequence[ImagePart], images: ImageURIs) -> object:
    """Images, then text; only the text where there are none."""
    if not shown:
        return plain(text)
    parts = [{"type": "image_url", "image_url": {"url": images.uri(part)}} for part in shown]
    return [*parts, {"type": "text", "text": plain(text)}]
