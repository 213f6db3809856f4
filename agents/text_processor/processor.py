"""`TextProcessor`: what a renderer needs of a processor, without pixels; and its renderer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medgym.imaging.lazy_image import Picture
from medgym.tool_form import ToolFormName

from ..rendering import Renderer
from .files import stop_tokens
from .placeholders import read_placeholders
from .template import ChatTemplate, read_template
from .tokenizer import TextTokenizer


class TextProcessor:
    """A processor that writes the tokens of texts and images, and makes no pixels.

    Attributes:
        tokenizer, image_token, chat_template: as of a processor of transformers.

    Raises:
        NeedsTransformers: the model cannot be read without transformers.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = TextTokenizer(folder)
        self.image_processor = read_placeholders(folder)
        self.image_token = self.tokenizer.own_names.get("image_token", "<|image_pad|>")
        self.template = ChatTemplate(read_template(folder), self.tokenizer.special_tokens_map)
        self.chat_template = self.template.source

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        tools: Sequence[Any] | None = None,
    ) -> str:
        """The conversation as the chat template writes it."""
        assert not tokenize, "it is asked for texts only"
        return self.template(conversation, tools, generate=add_generation_prompt)

    def written(self, text: str, sizes: Sequence[tuple[int, int]]) -> list[int]:
        """The ids of a text with its images' placeholders, one run for each (width, height).

        Raises:
            ValueError: the text shows another number of images.
        """
        parts = text.split(self.image_token)
        if len(parts) != len(sizes) + 1:
            raise ValueError(f"{len(sizes)} images for {len(parts) - 1} places in the text")
        for number, (width, height) in enumerate(sizes, 1):
            count = self.image_processor.count(width, height)
            parts[number] = self.image_token * count + parts[number]
        return self.tokenizer("".join(parts), add_special_tokens=False)["input_ids"]

    def __call__(
        self, *, text: Sequence[str], images: Sequence[Any], add_special_tokens: bool
    ) -> dict[str, list[list[int]]]:
        """The ids of one text and its images."""
        assert not add_special_tokens, "the template writes them"
        return {"input_ids": [self.written(text[0], [image.size for image in images])]}

    def _get_num_multimodal_tokens(
        self, *, image_sizes: Sequence[tuple[int, int]]
    ) -> Mapping[str, list[int]]:
        """The number of placeholders of images, each (height, width)."""
        counts = [self.image_processor.count(width, height) for height, width in image_sizes]
        return {"num_image_tokens": counts}


class TextRenderer(Renderer):
    """Renders conversations without drawing their images: only their sizes count."""

    def _encode(
        self, text: str, pictures: Sequence[Picture]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        sizes = [picture.size for picture in pictures]
        counted = tuple(self.processor.image_processor.count(*size) for size in sizes)
        return tuple(self.processor.written(text, sizes)), counted


def text_renderer(folder: Path, tool_form: ToolFormName) -> TextRenderer:
    """The renderer of a model's folder.

    Raises:
        NeedsTransformers: the model cannot be read without transformers.
        UserError: as of `Renderer`.
    """
    processor: Any = TextProcessor(folder)
    return TextRenderer(processor, stop_tokens(folder), tool_form=tool_form)
