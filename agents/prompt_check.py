"""What every engine that is given token ids has in common: it must have read exactly those.

Engines take one placeholder for each image and expand it themselves. The prompt that they report
back has to equal the renderer's, token for token, on every request: an engine that misses an image,
or that was given expanded placeholders and expanded them again, says nothing and answers.
"""

from collections.abc import Sequence

from medgym.failures import Failure

from .rendering import Prompt, Renderer


class DriftError(Failure):
    """The engine read other tokens than those that were held; such a reply must not train."""

    def __init__(self, reason: str) -> None:
        super().__init__("policy", reason)

    def __reduce__(self) -> tuple[type["DriftError"], tuple[str]]:  # type: ignore[override]
        return DriftError, (self.reason,)


def one_placeholder_each(prompt: Prompt, image_token_id: int) -> list[int]:
    """The prompt's ids with each image's run of placeholders shrunk to one."""
    ids: list[int] = []
    sizes = iter(prompt.image_tokens)
    at = 0
    while at < len(prompt.ids):
        ids.append(prompt.ids[at])
        at += next(sizes, 1) if prompt.ids[at] == image_token_id else 1
    return ids


def check_prompt(read: Sequence[int] | None, prompt: Prompt, where: str) -> None:
    """Hold the tokens that the engine `where` read against the prompt.

    Raises:
        DriftError: they differ, or the engine does not say what it read.
    """
    if read is None:
        raise DriftError(f"{where} does not say which tokens it read")
    if tuple(read) != prompt.ids:
        pairs = zip(read, prompt.ids, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(read), len(prompt.ids)))
        raise DriftError(
            f"{where} read {len(read)} tokens where {len(prompt.ids)} are held; "
            f"they differ from token {at} on"
        )


def text_of(renderer: Renderer, ids: Sequence[int], *, stopped: bool) -> str:
    """The text of sampled tokens. What `stopped` a reply is its last token: the template's end, or
    another of those that the checkpoint's generation_config names, which engines stop at too."""
    return renderer.decode_reply(ids[:-1] if stopped else ids)


def vision_words(renderer: Renderer) -> list[str]:
    """The vision tokens as engines take what must not be sampled (`bad_words`)."""
    words: list[str] = renderer.tokenizer.convert_ids_to_tokens(list(renderer.vision_token_ids))
    return words
