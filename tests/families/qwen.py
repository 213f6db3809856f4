"""Qwen2.5-VL, Qwen3-VL and Qwen3.5."""

from collections.abc import Mapping
from typing import Any

from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from trl.chat_template_utils import (
    qwen2_5_vl_chat_template,
    qwen3_5_think_chat_template,
    qwen3_vl_chat_template,
)

from .tokens import TEXT, byte_tokenizer

CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TOKENS = (*CHAT, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")

_VISION: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 32,
    "initializer_range": 0.2,
}


def _tokenizer() -> Any:
    names = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_start_token": "<|vision_start|>",
        "vision_end_token": "<|vision_end|>",
    }
    return byte_tokenizer(_TOKENS, names, "<|im_end|>", "<|endoftext|>")


def _ids(tokenizer: Any) -> dict[str, int]:
    return {
        f"{name}_id": tokenizer.convert_tokens_to_ids(getattr(tokenizer, name))
        for name in ("image_token", "video_token", "vision_start_token", "vision_end_token")
    }


def _text(tokenizer: Any, rope: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **TEXT,
        "vocab_size": len(tokenizer),
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, **rope},
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _images(patch: int) -> Any:
    side = 2 * patch
    return Qwen2VLImageProcessor(
        patch_size=patch,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": side * side, "longest_edge": 16 * side * side},
    )


def qwen2_5_vl() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    own = {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    vision = _VISION | own
    text = _text(tokenizer, {"mrope_section": [2, 3, 3]})
    text["bos_token_id"] = tokenizer.pad_token_id
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_ids(tokenizer))
    processor = Qwen2_5_VLProcessor(
        image_processor=_images(14),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(patch_size=14),
        chat_template=qwen2_5_vl_chat_template,
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vl() -> tuple[Any, Any]:
    tokenizer = _tokenizer()
    own = {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    vision = _VISION | own
    text = _text(tokenizer, {"mrope_section": [4, 2, 2], "mrope_interleaved": True})
    text["head_dim"] = 16
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **_ids(tokenizer))
    processor = Qwen3VLProcessor(
        image_processor=_images(16),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(patch_size=16),
        chat_template=qwen3_vl_chat_template,
    )
    return Qwen3VLForConditionalGeneration(config), processor


def qwen3_5() -> tuple[Any, Any]:
    """Three of four layers keep a recurrent state; the template opens a thought."""
    tokenizer = _tokenizer()
    vision = _VISION | {"patch_size": 16, "num_position_embeddings": 64}
    text = _text(tokenizer, {"mrope_section": [2, 1, 1], "mrope_interleaved": True})
    text["rope_parameters"]["partial_rotary_factor"] = 0.5
    text |= {"head_dim": 16, "layer_types": ["linear_attention", "full_attention"]}
    text |= {f"linear_{part}_head_dim": 8 for part in ("key", "value")}
    text |= {f"linear_num_{part}_heads": 2 for part in ("key", "value")}
    config = Qwen3_5Config(text_config=text, vision_config=vision, **_ids(tokenizer))
    processor = Qwen3VLProcessor(
        image_processor=_images(16),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(patch_size=16),
        chat_template=qwen3_5_think_chat_template,
    )
    return Qwen3_5ForConditionalGeneration(config), processor
