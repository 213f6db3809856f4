"""A conversation as OpenAI-compatible servers take it: messages with images inline; and the reply.

Nothing in a message's text spells a special token: a policy may write `<|image_pad|>` letter by
letter, and the server would read it as an image that is not there.
"""

import base64
import io
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from medgym.messages import ImagePart, Message

VISION_TOKENS = (
    "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image|>", "<|video|>", "<|image_start|>", "<|image_end|>", "<|begin_of_image|>",
    "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<image>", "<video>", "<img>",
    "</img>", "<IMG_CONTEXT>", "<image_soft_token>", "<start_of_image>", "<end_of_image>",
    "<fake_token_around_image>", "[IMG]", "[IMG_BREAK]", "[IMG_END]",
)  # fmt: skip
"""Names of the tokens that stand for images in common models, for servers that do not say."""

_SPELLED = re.compile("|".join((r"<\|[^\s<>|]{1,40}\|>", *map(re.escape, VISION_TOKENS))))


class Pictures:
    """PNG data URIs of images, each encoded once while it is remembered.

    Args:
        most: characters of all remembered URIs together; those unused for longest go first.
    """

    def __init__(self, most: int = 64 * 2**20) -> None:
        self._uris: OrderedDict[str, str] = OrderedDict()
        self._left = most

    def uri(self, part: ImagePart) -> str:
        """The image as `data:image/png;base64,...`."""
        if part.sha256 in self._uris:
            self._uris.move_to_end(part.sha256)
            return self._uris[part.sha256]
        buffer = io.BytesIO()
        part.image.save(buffer, "PNG", compress_level=1)  # bytes are cheaper than waiting
        uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        self._uris[part.sha256] = uri
        self._left -= len(uri)
        while self._left < 0 and len(self._uris) > 1:
            self._left += len(self._uris.popitem(last=False)[1])
        return uri


def chat_messages(
    conversation: Sequence[Message], pictures: Pictures, tool_role: str
) -> list[dict[str, Any]]:
    """The conversation as the `messages` of a chat request.

    Args:
        conversation: what was said. pictures: encodes its images.
        tool_role: the role under which tools speak: `tool`, or `user` for servers that know a
            tool's message only as the answer to a call of their own protocol.
    """
    return [_message(each, pictures, tool_role) for each in conversation]


def _message(message: Message, pictures: Pictures, tool_role: str) -> dict[str, Any]:
    role = tool_role if message.role == "tool" else message.role
    text = plain(message.text)
    if not message.images:
        return {"role": role, "content": text}
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": pictures.uri(part)}} for part in message.images
    ]
    return {"role": role, "content": [*content, {"type": "text", "text": text}]}


def spoken(message: Mapping[str, Any]) -> str:
    """What the policy wrote, of the message in a chat reply: `<think>...</think>` and the rest.

    A server's reasoning parser takes the thought out, into `reasoning` or `reasoning_content`, as
    servers differ. Without one, a template that opens `<think>` for the policy leaves a reply that
    closes what it did not open.
    """
    text = message.get("content") or ""
    thought = message.get("reasoning") or message.get("reasoning_content")
    if "<think>" in text:
        return text
    if thought:
        return f"<think>{thought}</think>{text}"
    return f"<think>{text}" if "</think>" in text else text


def plain(text: str) -> str:
    """Text in which nothing spells a special token."""
    return _SPELLED.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
