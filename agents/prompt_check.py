"""The check of every engine that is sent token ids: it must have read exactly those.

Engines take one placeholder for each image and expand it themselves. The prompt that they report
back must equal the renderer's, token for token, on every request. An engine that misses an image,
or that expands placeholders twice, reports no error and answers.
"""

from collections.abc import Sequence

from medgym.failures import Failure

from .rendering import Prompt, Renderer


class DriftError(Failure):
    """The engine read other tokens than those of the prompt. Such a reply must not train."""

    def __init__(self, reason: str) -> None:
        super().__init__("policy", reason)

    def __reduce__(self) -> tuple[type["DriftError"], tuple[str]]:  # type: ignore[override]
        return DriftError, (self.reason,)


def one_placeholder_each(prompt: Prompt, image_token_id: int) -> list[int]:
    """The prompt's ids with each image's run of placeholders shrunk to one."""
    ids: list[int] = []
    begin = 0
    for size in prompt.image_tokens:
        first = prompt.ids.index(image_token_id, begin)
        ids += prompt.ids[begin : first + 1]
        begin = first + size
    return [*ids, *prompt.ids[begin:]]


def check_prompt(read: Sequence[int] | None, prompt: Prompt, where: str) -> None:
    """Compare the tokens that the engine `where` read with the prompt.

    Raises:
        DriftError: they differ, or the engine does not report what it read.
    """
    if read is None:
        raise DriftError(f"{where} does not report which tokens it read")
    if tuple(read) != prompt.ids:
        pairs = zip(read, prompt.ids, strict=False)
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(read), len(prompt.ids)))
        raise DriftError(
            f"{where} read {len(read)} tokens where the prompt has {len(prompt.ids)}; "
            f"they differ from token {at} on"
        )


def text_of(renderer: Renderer, ids: Sequence[int], *, stopped: bool) -> str:
    """The text of sampled tokens.

    The token that `stopped` a reply is its last one: the template's end, or another that the
    checkpoint's generation_config names, since engines stop at these too.
    """
    return renderer.decode_reply(ids[:-1] if stopped else ids)
