"""A processor that cannot say what an image becomes is refused by name, before any weights."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import trl
from transformers import (
    Idefics3ImageProcessor,
    Idefics3Processor,
    Lfm2VlImageProcessor,
    Lfm2VlProcessor,
    SmolVLMConfig,
    SmolVLMImageProcessor,
    SmolVLMVideoProcessor,
)

from medgym.agents.image_tokens import count_features
from medgym.agents.rendering import Renderer
from medgym.errors import UserError
from medgym.models import load_model
from tests.families import FAMILIES, build
from tests.families.tokens import byte_tokenizer

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
TOKENS = (
    "<|endoftext|>", "<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>",
)  # fmt: skip


def tokenizer() -> Any:
    return byte_tokenizer(TOKENS, {"image_token": "<image>"}, "<end_of_utterance>", "<|endoftext|>")


def idefics3() -> Any:
    images = Idefics3ImageProcessor(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    template = (TEMPLATES / "idefics3.jinja").read_text("utf-8")
    return Idefics3Processor(images, tokenizer(), image_seq_len=4, chat_template=template)


def lfm2_vl() -> Any:
    template = (TEMPLATES / "lfm2_2_5_vl.jinja").read_text("utf-8")
    return Lfm2VlProcessor(Lfm2VlImageProcessor(), tokenizer(), chat_template=template)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (idefics3, "Idefics3Processor writes 20 placeholders for an image of 64 x 48 pixels and "
         "counts 34 tokens for it"),
        (lfm2_vl, "Lfm2VlProcessor does not say how many placeholders an image takes"),
    ],
)  # fmt: skip
def test_an_uncounted_image_is_refused_by_name(make: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        Renderer(make())
    assert "; fix: choose a model of one of the families in docs/serving.md" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_is_refused_before_the_weights_are_read(tmp_path: Path) -> None:
    """And where its processor wants a library that is missing, that is not what is said."""
    parts = SmolVLMImageProcessor(), SmolVLMVideoProcessor(), tokenizer(), SmolVLMConfig()
    for part in parts:
        part.save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text('{"processor_class": "SmolVLMProcessor"}')
    with pytest.raises(UserError, match="SmolVLMProcessor does not say how many placeholders"):
        load_model(str(tmp_path), check=Renderer)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_counts_what_it_writes(family: str) -> None:
    from PIL import Image

    _, processor = build(family)
    renderer = Renderer(processor)
    for size in ((64, 64), (33, 90), (90, 33)):
        images = [Image.new("RGB", size)]
        text = renderer.processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}]}], tokenize=False
        )
        ids = processor(text=[text], images=images, add_special_tokens=False)["input_ids"][0]
        assert list(ids).count(renderer.image_token_id) == sum(count_features(processor, images))
