"""Whether a server can be told of tools, asked before anything is written: `?tools=native`."""

import json

from PIL import Image

from medgym.errors import UserError
from medgym.messages import ImagePart, Message, TextPart, ToolOffer, message, render_call

from .bodies import Refused
from .capabilities import ServerCapabilities, key_refused, silent
from .chat_messages import ImageURIs
from .function_calls import function_messages, functions
from .http import Endpoint, Unreachable

_SCHEMA = {
    "name": "probe_tool",
    "description": "A probe.",
    "parameters": {"type": "object", "properties": {"view": {"type": "integer"}}},
}


async def try_functions(
    endpoint: Endpoint, model: str, server: ServerCapabilities, *, tools_show: bool
) -> None:
    """Send a server a call and its result, offer it a tool, and ask for one token.

    Raises:
        UserError: it takes no tools; or it is a vLLM server, and cannot show such a conversation.
    """
    seen = (ImagePart(0, Image.new("RGB", (64, 64))),)
    offer = ToolOffer((json.dumps(_SCHEMA),), "?")
    asked = (
        Message("system", (TextPart("?"),), offer=offer),
        message("user", "?", seen),
        message("assistant", render_call("probe_tool", {"view": 0})),
        message("tool", "?", seen),
    )
    body = {
        "model": model,
        "messages": function_messages(asked, ImageURIs(), tools_show=tools_show),
        "tools": functions(asked),
        "max_tokens": 1,
    }
    try:
        await endpoint.ask("POST", f"{endpoint.url}/chat/completions", body)
    except Refused as error:
        said = str(error)[:120]
        if error.status in (401, 403):
            raise key_refused(endpoint, error) from error
        parser = "tool-call-parser" in str(error)
        if not (server.vllm or "tool" in str(error).lower() or "function" in str(error).lower()):
            return  # a refusal for another reason shows again at the first reply
        fix = (
            "start vLLM with --enable-auto-tool-choice and --tool-call-parser NAME"
            if parser
            else "ask a model that takes tools and images, or omit tools=native"
        )
        raise UserError(
            f"{model} at {endpoint.url} cannot play with tools=native ({said}); fix: {fix}"
        ) from error
    except Unreachable as error:
        raise silent(endpoint, model, error) from error
