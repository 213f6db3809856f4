"""GLM-4.1V; GLM-4.5V and GLM-4.6V are written and end alike."""

from typing import Any

from transformers import (
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vImageProcessor,
    Glm4vProcessor,
    Glm4vVideoProcessor,
)

from .tokens import TEXT, byte_tokenizer

TEMPLATE = """[gMASK]<sop>{% for message in messages %}\
<|{{ 'observation' if message.role == 'tool' else message.role }}|>
{% if message.content is string %}{{ message.content }}{% else %}\
{% for part in message.content %}{% if part.type == 'image' %}\
<|begin_of_image|><|image|><|end_of_image|>{% else %}{{ part.text }}{% endif %}\
{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""
"""No token ends a turn: the next one's first token does, and the model stops where it writes it."""

STOPS = ("<|endoftext|>", "<|user|>", "<|observation|>")
"""What the published `generation_config.json` names as `eos_token_id`."""

_TOKENS = (
    *STOPS, "[gMASK]", "<sop>", "<|system|>", "<|assistant|>", "<|begin_of_image|>", "<|image|>",
    "<|end_of_image|>", "<|begin_of_video|>", "<|video|>", "<|end_of_video|>",
)  # fmt: skip


def glm4v() -> tuple[Any, Any]:
    names = {"image_token": "<|image|>", "video_token": "<|video|>"}
    tokenizer = byte_tokenizer(_TOKENS, names, "<|endoftext|>", "<|endoftext|>")
    ids = tokenizer.convert_tokens_to_ids
    text = {
        **TEXT,
        "vocab_size": len(tokenizer),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [2, 1, 1],
            "partial_rotary_factor": 0.5,
        },
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": [ids(token) for token in STOPS],
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "image_size": 56,
        "patch_size": 14,
        "out_hidden_size": 32,
        "initializer_range": 0.2,
    }
    config = Glm4vConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids("<|image|>"),
        video_token_id=ids("<|video|>"),
        image_start_token_id=ids("<|begin_of_image|>"),
        image_end_token_id=ids("<|end_of_image|>"),
        video_start_token_id=ids("<|begin_of_video|>"),
        video_end_token_id=ids("<|end_of_video|>"),
    )
    processor = Glm4vProcessor(
        image_processor=Glm4vImageProcessor(
            size={"shortest_edge": 2 * 28 * 28, "longest_edge": 2 * 16 * 28 * 28}
        ),
        tokenizer=tokenizer,
        video_processor=Glm4vVideoProcessor(),
        chat_template=TEMPLATE,
    )
    model = Glm4vForConditionalGeneration(config)
    model.generation_config.eos_token_id = [ids(token) for token in STOPS]
    return model, processor
