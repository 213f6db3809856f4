"""An episode as messages of inspect_ai: calls as tool calls, what tools showed as tool messages."""

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    Content,
    ContentImage,
    ContentText,
)
from inspect_ai.tool import ToolCall

from medgym.messages import Calls, parse_action, thought_of
from medgym.trajectory import SEAM, Node, Trajectory

from .inspect_images import LogImages

ABOVE = "The results of all calls of this reply are in the message of its last call."
"""What the messages of the other calls say, for a trajectory keeps their results as one text."""


def chat_messages(trajectory: Trajectory, images: LogImages, name: str) -> list[ChatMessage]:
    """The conversation of an episode; of a consultation that of the part that decided.

    Args:
        name: of the sample, with which the ids of messages begin.
    """
    chat: list[ChatMessage] = []
    waiting: list[ToolCall] = []  # for what the next message says of them
    head = trajectory.system + SEAM
    for place, node in enumerate(trajectory.branch()):
        mark = f"{name}-{place}"
        if node.role == "assistant":
            waiting = _calls(node.text, mark)
            chat.append(_reply(node.text, waiting, mark, trajectory.policy))
            continue
        text = node.text
        if place == 0 and trajectory.system and text.startswith(head):
            chat.append(ChatMessageSystem(id=f"{mark}-system", content=trajectory.system))
            text = text.removeprefix(head)
        content = _content(node, text, images)
        if waiting:
            chat += _results(waiting, content, mark)
        else:
            chat.append(ChatMessageUser(id=mark, content=content))
        waiting = []
    return chat


def _calls(text: str, mark: str) -> list[ToolCall]:
    action = parse_action(text)
    if not isinstance(action, Calls):
        return []
    return [
        ToolCall(id=f"{mark}-call-{place}", function=call.name, arguments=call.arguments)
        for place, call in enumerate(action.calls)
    ]


def _reply(text: str, calls: list[ToolCall], mark: str, policy: str) -> ChatMessageAssistant:
    return ChatMessageAssistant(
        id=mark,
        content=thought_of(text).strip() if calls else text,
        tool_calls=calls or None,
        model=policy,
        source="generate",
    )


def _content(node: Node, text: str, images: LogImages) -> list[Content]:
    content: list[Content] = []
    for use in node.images:
        uri = images.uri(use.sha256)
        if uri is None:
            content.append(ContentText(text=f"[image {use.sha256[:12]}, not in this log]"))
        else:
            content.append(ContentImage(image=uri))
    return [*content, ContentText(text=text)]


def _results(calls: list[ToolCall], content: list[Content], mark: str) -> list[ChatMessage]:
    *others, last = calls
    made: list[ChatMessage] = [
        ChatMessageTool(
            id=f"{mark}-{place}", content=ABOVE, tool_call_id=call.id, function=call.function
        )
        for place, call in enumerate(others)
    ]
    made.append(
        ChatMessageTool(id=mark, content=content, tool_call_id=last.id, function=last.function)
    )
    return made
