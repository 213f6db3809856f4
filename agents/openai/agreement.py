"""Tokens that are written without transformers, once the server confirms that it reads the same.

Where nothing trains, `agents/text_processor` writes the tokens of common families. Before that, the
server must read a text of many kinds of characters, and a prompt with an image, as the very tokens
that were written here.
"""

import asyncio
from pathlib import Path

from PIL import Image

from medgym.errors import UserError
from medgym.messages import ImagePart, message
from medgym.tool_form import tool_form_of

from ..rendering import Renderer
from ..text_processor.files import NeedsTransformers
from ..text_processor.processor import text_renderer
from .address import server_root
from .bodies import Refused
from .chat_messages import ImageURIs
from .http import Endpoint, Unreachable
from .options import EndpointOptions
from .replies import WRONG_FORM
from .token_requests import tokens_body

TEXT = (
    "Is the lesion's edge SHARP?  It's 12.75 mm, we'll see: 1e-3\u00b5l, 90\u00b0, \u22645 %.\r\n\n"
    '\t{"box": [0, 250, 1000], "view": -1}\n  <tool_call></think> #@$^&*~`|\\ __init__ // '
    "Cafe\u0301 caf\u00e9 na\u00efve \u00e9chographie, \u0420\u0435\u043d\u0442\u0433\u0435\u043d, "
    "\u80ba\u7ed3\u8282\u3002\u3042\u308a, \ud55c\uad6d\uc5b4, \u0627\u0644\u0639\u0631\u0628, "
    "\u0939\u093f\u0928\u094d\u0926\u0940 \U0001fac1\U0001f468\u200d\u2695\ufe0f "
    "\u00a0\u2003\u200bend   "
)
"""A text with what tokenizers treat apart: digits, cases, spaces, marks, scripts, signs."""

_SIZE = (97, 61)
"""(width, height) of the image with which the counts of placeholders are tried."""


async def text_renderer_of(
    endpoint: Endpoint, model: str, source: str, options: EndpointOptions, *, takes_ids: bool
) -> Renderer | None:
    """The renderer that needs no transformers; None where it does not know the model's family, or
    where the server reads other tokens than it writes."""
    try:
        form = tool_form_of("openai", options.tool_form)
        renderer = await asyncio.to_thread(text_renderer, Path(source), form)
        trials = [_reads_text(endpoint, model, renderer)]
        if takes_ids:
            trials.append(_reads_image(endpoint, model, renderer))
        agreed = await asyncio.gather(*trials)
    except (NeedsTransformers, UserError, *WRONG_FORM):
        return None  # transformers read it, or say what is wrong with it
    return renderer if all(agreed) else None


async def _reads_text(endpoint: Endpoint, model: str, renderer: Renderer) -> bool:
    """Whether the server's tokenizer is the one with which we write."""
    text = TEXT + "".join(renderer.tokenizer.all_special_tokens)
    body = {"model": model, "prompt": text, "add_special_tokens": False}
    try:
        answer = await endpoint.ask(
            "POST", f"{server_root(endpoint.url)}/tokenize", body, retries=0
        )
    except (Refused, Unreachable):
        return False
    ours: list[int] = renderer.tokenizer(text, add_special_tokens=False)["input_ids"]
    return bool(answer["tokens"] == ours)


async def _reads_image(endpoint: Endpoint, model: str, renderer: Renderer) -> bool:
    """Whether the server reads an image as the placeholders that we count."""
    seen = ImagePart(0, Image.new("RGB", _SIZE))
    prompt = renderer.prompt((message("system", "?"), message("user", "?", [seen])))
    body = tokens_body(model, renderer, prompt, [ImageURIs().uri(seen)], {"max_tokens": 1})
    url = f"{server_root(endpoint.url)}/inference/v1/generate"
    try:
        answer = await endpoint.ask("POST", url, body, retries=0)
    except (Refused, Unreachable):
        return False
    return bool(answer["prompt_token_ids"] == list(prompt.ids))
