"""LLaVA-OneVision: one image becomes several tiles, by its shape."""

from typing import Any

import torch
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
)

from .qwen import CHAT
from .tokens import TEXT, byte_tokenizer

TEMPLATE = """{% for message in messages %}<|im_start|>{{ message['role'] }} \
{% for content in message['content'] %}{% if content['type'] == 'image' %}<image>
{% endif %}{% endfor %}{% for content in message['content'] %}{% if content['type'] == 'text' %}\
{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

_TOKENS = (*CHAT, "<image>", "<video>")
_SIDE = 16


def llava_onevision() -> tuple[Any, Any]:
    names = {"image_token": "<image>", "video_token": "<video>"}
    tokenizer = byte_tokenizer(_TOKENS, names, "<|im_end|>", "<|endoftext|>")
    ids = tokenizer.convert_tokens_to_ids
    tiles = [[_SIDE * height, _SIDE * width] for height in (1, 2) for width in (1, 2)]
    text = {
        **TEXT,
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": _SIDE,
        "patch_size": 8,
        "vision_use_head": False,
    }
    config = LlavaOnevisionConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=ids("<image>"),
        video_token_index=ids("<video>"),
        image_grid_pinpoints=tiles,
        tie_word_embeddings=False,
    )
    side = {"height": _SIDE, "width": _SIDE}
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=side, image_grid_pinpoints=tiles),
        tokenizer=tokenizer,
        video_processor=LlavaOnevisionVideoProcessor(size=side),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )
    model = LlavaOnevisionForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.image_newline, std=0.2)
    return model, processor
