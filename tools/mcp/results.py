"""What a server's tool returned, as what an episode can show: text within limits, and views.

A server is not trusted. Its text is data: control characters are taken out, it is cut, and nothing
in it is read as an action, because only a policy's own replies are. (What spells a special token of
a model is taken apart where text becomes tokens.) Its pictures are decoded within limits.

A picture that a tool returns for a view, and that has the view's aspect, shows the view's region
and becomes an overlay of it, at the view's size. Any other picture shows nothing that is known of
the image. It is fitted into the frame of that view, or of view 0, at that view's size: so it never
counts as a finer look at the image than the view did. Its text says that it has no place.
"""

import base64
import binascii
import io
import json
from collections.abc import Sequence
from typing import Any

import mcp_types as types
from PIL import Image

from medgym.imaging.limits import MAX_PIXELS
from medgym.messages import MAX_CALLS, MAX_TEXT
from medgym.tool import ToolResult
from medgym.workspace import View, Workspace

MOST_TEXT = MAX_TEXT // MAX_CALLS
"""Characters of a result: what an episode shows of one call."""

MOST_IMAGES = 4
"""Pictures of one result that are shown."""

MOST_DATA = 2**25
"""Characters of one picture in base64."""

SAME_ASPECT = 0.02
"""How far the aspect of a picture may be from that of the view of which it is an overlay."""


def plain_text(text: str, most: int = MOST_TEXT) -> str:
    """A server's text without control characters, at most so long."""
    cut = text if len(text) <= most else f"{text[: most - 6]} [cut]"
    clean = "".join(c if c.isprintable() or c in "\n\t" else " " for c in cut)
    return clean.encode("utf-8", "replace").decode("utf-8")


def text_of(content: Sequence[types.ContentBlock], structured: Any = None) -> str:
    """All that a result says in words. Structured content stands for text where there is none."""
    parts = [_said(block) for block in content]
    said = "\n".join(part for part in parts if part)
    if not said and structured is not None:
        said = json.dumps(structured, ensure_ascii=False, default=str)
    return plain_text(said)


def result_of(
    result: types.CallToolResult, workspace: Workspace, view: View | None, made_by: str
) -> ToolResult:
    """What an episode shows and records of a call.

    Args:
        view: the one that the server was given, if any.
    """
    pictures = [each for each in result.content if isinstance(each, types.ImageContent)]
    views: list[View] = []
    notes = []
    for given in pictures[:MOST_IMAGES]:
        picture = _decoded(given.data)
        if picture is None:
            notes.append("One picture of the server could not be read.")
            continue
        shown, is_placed = _as_view(picture, workspace, view, made_by)
        if not is_placed:
            number = len(workspace.views) + len(views)
            notes.append(f"View {number} is the server's own picture, of no region of the image.")
        views.append(shown)
    if len(pictures) > MOST_IMAGES:
        notes.append(f"{len(pictures) - MOST_IMAGES} more pictures are not shown.")
    text = text_of(result.content, result.structured_content)
    data = {} if result.structured_content is None else _recorded(result.structured_content)
    return ToolResult("\n".join([*notes, text] if text else notes), tuple(views), data)


def _said(block: types.ContentBlock) -> str:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.EmbeddedResource):
        held = block.resource
        return held.text if isinstance(held, types.TextResourceContents) else "[a file, not shown]"
    if isinstance(block, types.ResourceLink):
        return f"[a link to {block.uri}]"
    return "[sound, not played]" if isinstance(block, types.AudioContent) else ""


def _recorded(structured: Any) -> dict[str, Any]:
    try:
        text = json.dumps(structured, allow_nan=False)
    except (TypeError, ValueError):
        return {}
    return {"structured": json.loads(text)} if len(text) <= MAX_TEXT else {}


def _decoded(data: str) -> Image.Image | None:
    if len(data) > MOST_DATA:
        return None
    try:
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as opened:
            if opened.format not in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
                return None
            if opened.width * opened.height > MAX_PIXELS // 4:
                return None
            return opened.convert("RGB")
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _as_view(
    picture: Image.Image, workspace: Workspace, view: View | None, made_by: str
) -> tuple[View, bool]:
    frame = workspace.views[0] if view is None else view
    width, height = frame.size
    aspect = (picture.width * height) / (picture.height * width)
    # Of a side of a few pixels the rounding is more than that.
    slack = max(SAME_ASPECT, 1 / min(picture.size), 1 / min(frame.size))
    if view is not None and abs(aspect - 1) <= slack:
        same = picture.resize(frame.size, Image.Resampling.LANCZOS)
        return workspace.overlay(view, same, made_by), True
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    fitted = Image.new("RGB", frame.size)
    small = picture.resize(size, Image.Resampling.LANCZOS)
    fitted.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return workspace.overlay(frame, fitted, made_by), False
