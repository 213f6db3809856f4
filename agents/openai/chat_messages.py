"""A conversation as the messages of a chat request, with images inline; and the text of its reply.

No text in a message spells a special token. A policy may write `<|image_pad|>` letter by letter,
and a server would read it as an image that is not there.
"""

import base64
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from medgym.daemon_threads import DaemonThreads
from medgym.imaging.lazy_image import Picture
from medgym.messages import ImagePart, Message
from medgym.png import png_bytes
from medgym.threads import in_thread

VISION_TOKENS = (
    "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image|>", "<|video|>", "<|image_start|>", "<|image_end|>", "<|begin_of_image|>",
    "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>", "<image>", "<video>", "<img>",
    "</img>", "<IMG_CONTEXT>", "<image_soft_token>", "<start_of_image>", "<end_of_image>",
    "<fake_token_around_image>", "[IMG]", "[IMG_BREAK]", "[IMG_END]",
)  # fmt: skip
"""The tokens that stand for images in common models, for servers that do not report theirs."""

_SPELLED = re.compile("|".join((r"<\|[^\s<>|]{1,40}\|>", *map(re.escape, VISION_TOKENS))))


SMALL, FEW = 96 * 96, 512 * 512
"""Pixels of an image, and those under it in its study, up to which it is drawn and encoded at once.
To have a thread do it takes as long."""

_ENCODING = DaemonThreads("medgym-encoding", min(4, os.cpu_count() or 1), sparing=True)


class ImageURIs:
    """Images as PNG data URIs. Each is encoded once while it is in this cache.

    Args:
        capacity: characters of all cached URIs together. The least recently used go first.
    """

    def __init__(self, capacity: int = 32 * 2**20) -> None:
        self._uris: OrderedDict[str, str] = OrderedDict()
        self._left = capacity

    async def prepare(self, conversation: Sequence[Message]) -> None:
        """Draw and encode the images of a conversation; those that take long in threads, beside
        other requests."""
        parts = [part for message in conversation for part in message.images]
        if any(not part.picture.is_hashed or part.sha256 not in self._uris for part in parts):
            for picture in (part.picture for part in parts):
                if picture.png is not None:
                    continue
                if picture.size[0] * picture.size[1] <= SMALL and picture.reads <= FEW:
                    _encode(picture)
                else:
                    await in_thread(_ENCODING, _encode, picture)

    def uri(self, part: ImagePart) -> str:
        """The image as `data:image/png;base64,...`."""
        if part.sha256 in self._uris:
            self._uris.move_to_end(part.sha256)
            return self._uris[part.sha256]
        png = part.picture.png or _encode(part.picture)
        uri = "data:image/png;base64," + base64.b64encode(png).decode()
        self._uris[part.sha256] = uri
        self._left -= len(uri)
        while self._left < 0 and len(self._uris) > 1:
            self._left += len(self._uris.popitem(last=False)[1])
        return uri


def _encode(picture: Picture) -> bytes:
    """The PNG of a picture, which it keeps. Its hash is made while its pixels are there."""
    image = picture.image
    _ = picture.sha256
    picture.png = png_bytes(image)
    return picture.png


def chat_messages(
    conversation: Sequence[Message], images: ImageURIs, tool_role: str
) -> list[dict[str, object]]:
    """The conversation as the `messages` of a chat request.

    Args:
        conversation: the messages so far. images: encodes their images.
        tool_role: the role of a tool's messages: `tool`, or `user` for servers that know a tool's
            message only as the answer to a call of their own protocol.
    """
    return [_message(each, images, tool_role) for each in conversation]


def _message(message: Message, images: ImageURIs, tool_role: str) -> dict[str, object]:
    role = tool_role if message.role == "tool" else message.role
    text = plain(message.text)
    if not message.images:
        return {"role": role, "content": text}
    content: list[dict[str, object]] = [
        {"type": "image_url", "image_url": {"url": images.uri(part)}} for part in message.images
    ]
    return {"role": role, "content": [*content, {"type": "text", "text": text}]}


def reply_text(message: Mapping[str, object], *, cut: bool = False, opening: str = "") -> str:
    """What the policy wrote, from the message of a chat reply: `<think>...</think>` and the rest.

    A server's reasoning parser moves the thought into `reasoning` or `reasoning_content`. Without a
    parser, where the template opens `<think>` for the policy, the reply only closes it. A reply
    that was cut inside its thought keeps it open.

    Args:
        cut: whether the token limit ended the reply.
        opening: what the template is known to open a reply with.

    Raises:
        TypeError: the content or the thought is no text.
    """
    text = _joined(message.get("content") or "")
    thought = message.get("reasoning") or message.get("reasoning_content") or ""
    if not isinstance(thought, str):
        raise TypeError(f"the thought is a {type(thought).__name__}")
    if "<think>" in text:
        return text
    if thought:
        return f"<think>{thought}" if cut and not text else f"<think>{thought}</think>{text}"
    if "</think>" in text:
        return f"<think>{text}"
    return opening + text if cut else text


def _joined(content: object) -> str:
    """A content as one text: some servers give it as a list of parts, as they take it."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise TypeError(f"the content is a {type(content).__name__}")
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("the content is a list of which a part is no text")
    return "".join(map(str, texts))


def plain(text: str) -> str:
    """Text in which nothing spells a special token."""
    return _SPELLED.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
