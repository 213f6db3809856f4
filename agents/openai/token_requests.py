"""A request that gives a vLLM server token ids and images."""

from collections.abc import Sequence
from typing import Any

from ..prompt_check import one_placeholder_each
from ..rendering import Prompt, Renderer


def tokens_body(
    model: str, renderer: Renderer, prompt: Prompt, images: Sequence[str], sampling: dict[str, Any]
) -> dict[str, object]:
    """The body of the request.

    Args:
        images: as data URIs. sampling: how the reply is sampled.
    """
    return {
        "model": model,
        "token_ids": one_placeholder_each(prompt, renderer.image_token_id),
        "content_parts": [{"type": "image_url", "url": uri} for uri in images],
        "return_token_ids": True,
        "sampling_params": {
            **sampling,
            "logprobs": 0,
            "bad_words": renderer.vision_words,
            "stop_token_ids": sorted(renderer.stop_token_ids),
        },
    }
