"""InternVL3 and InternVL3.5, in their transformers form."""

from typing import Any

from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
)

from .qwen import CHAT
from .tokens import TEXT, byte_tokenizer

INTERNVL_TEMPLATE = """{% for message in messages %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for content in message['content'] %}{% if content['type'] == 'image' %}<IMG_CONTEXT>
{% elif content['type'] == 'video' %}<video>
{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif -%}
<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""What InternVL3's template in its transformers form (`InternVL3-*-hf`) writes."""

_TOKENS = (*CHAT, "<img>", "</img>", "<IMG_CONTEXT>", "<video>")


def internvl() -> tuple[Any, Any]:
    names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = byte_tokenizer(_TOKENS, names, "<|im_end|>", "<|endoftext|>")
    side = {"height": 32, "width": 32}
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": [32, 32],
        "patch_size": [8, 8],
        "initializer_range": 0.2,
    }
    text = {
        **TEXT,
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = InternVLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    processor = InternVLProcessor(
        # As published: the file says that images are not cut into tiles, the processor's own
        # defaults say that they are, and the latter win when the processor is called.
        image_processor=GotOcr2ImageProcessor(size=side, crop_to_patches=False, max_patches=4),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=side),
        image_seq_length=4,
        chat_template=INTERNVL_TEMPLATE,
    )
    return InternVLForConditionalGeneration(config), processor
