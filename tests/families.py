"""Tiny models of the four families that training knows, of random weights and made without network.

Each is the family's real architecture class with its real processor, image processor and chat
template; only sizes are small, and the tokenizer spells bytes. What is peculiar to a family (where
its template puts images, how many tokens one becomes, what its model takes) is therefore there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from trl.chat_template_utils import (
    gemma3_chat_template,
    qwen2_5_vl_chat_template,
    qwen3_vl_chat_template,
)

FAMILIES = ("qwen2.5-vl", "qwen3-vl", "internvl", "gemma3")

INTERNVL_TEMPLATE = """{% for message in messages %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for content in message['content'] %}{% if content['type'] == 'image' %}<IMG_CONTEXT>
{% elif content['type'] == 'video' %}<video>
{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif -%}
<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""What InternVL3's template in its transformers form (`InternVL3-*-hf`) writes."""

_CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_QWEN = (*_CHAT, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_INTERN = (*_CHAT, "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
_GEMMA = (
    "<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
    "<end_of_image>", "<image_soft_token>",
)  # fmt: skip
_TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>")

_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    # With the customary 0.02 so narrow a model says the same whatever it is shown.
    "initializer_range": 0.2,
}


_QWEN_VISION: dict[str, Any] = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 32,
    "initializer_range": 0.2,
}


def build(family: str, *, seed: int = 0) -> tuple[Any, Any]:
    """A tiny model of a family in float32 and eval mode, and its processor.

    Args:
        family: one of `FAMILIES`.
        seed: of the weights.
    """
    make = {"qwen2.5-vl": _qwen2_5_vl, "qwen3-vl": _qwen3_vl, "internvl": _internvl}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = make.get(family, _gemma3)()
    tokenizer = processor.tokenizer
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), processor


def _tokenizer(special: Sequence[str], names: Mapping[str, str], eos: str, pad: str) -> Any:
    """A byte-level tokenizer with a family's special tokens, first in the vocabulary."""
    vocabulary = {token: number for number, token in enumerate(special)}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in _TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=eos,
        pad_token=pad,
        bos_token="<bos>" if "<bos>" in special else None,
        additional_special_tokens=[t for t in special if t not in (eos, pad)],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_specific_special_tokens=dict(names),
    )


def _qwen_tokenizer() -> Any:
    names = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_start_token": "<|vision_start|>",
        "vision_end_token": "<|vision_end|>",
    }
    return _tokenizer(_QWEN, names, "<|im_end|>", "<|endoftext|>")


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    return {
        f"{name}_id": tokenizer.convert_tokens_to_ids(getattr(tokenizer, name))
        for name in ("image_token", "video_token", "vision_start_token", "vision_end_token")
    }


def _qwen_text(tokenizer: Any, rope: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_TEXT,
        "vocab_size": len(tokenizer),
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, **rope},
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _qwen_images(patch: int) -> Any:
    side = 2 * patch
    return Qwen2VLImageProcessor(
        patch_size=patch,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": side * side, "longest_edge": 16 * side * side},
    )


def _qwen2_5_vl() -> tuple[Any, Any]:
    tokenizer = _qwen_tokenizer()
    own = {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    vision = _QWEN_VISION | own
    text = _qwen_text(tokenizer, {"mrope_section": [2, 3, 3]})
    text["bos_token_id"] = tokenizer.pad_token_id
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_qwen_ids(tokenizer))
    processor = Qwen2_5_VLProcessor(
        image_processor=_qwen_images(14),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(patch_size=14),
        chat_template=qwen2_5_vl_chat_template,
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl() -> tuple[Any, Any]:
    tokenizer = _qwen_tokenizer()
    own = {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    vision = _QWEN_VISION | own
    text = _qwen_text(tokenizer, {"mrope_section": [4, 2, 2], "mrope_interleaved": True})
    text["head_dim"] = 16
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **_qwen_ids(tokenizer))
    processor = Qwen3VLProcessor(
        image_processor=_qwen_images(16),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(patch_size=16),
        chat_template=qwen3_vl_chat_template,
    )
    return Qwen3VLForConditionalGeneration(config), processor


def _internvl() -> tuple[Any, Any]:
    names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _tokenizer(_INTERN, names, "<|im_end|>", "<|endoftext|>")
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
        **_TEXT,
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


def _gemma3() -> tuple[Any, Any]:
    names = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    tokenizer = _tokenizer(_GEMMA, names, "<eos>", "<pad>")
    ids = tokenizer.convert_tokens_to_ids
    text = {
        **_TEXT,
        "vocab_size": len(tokenizer),
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 512,
        "layer_types": ["sliding_attention", "full_attention"],
        "bos_token_id": ids("<bos>"),
        "eos_token_id": ids("<eos>"),
        "pad_token_id": ids("<pad>"),
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "vision_use_head": False,
    }
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"),
        image_token_index=ids("<image_soft_token>"),
        initializer_range=0.2,
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessor(size={"height": 32, "width": 32}),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=gemma3_chat_template,
    )
    model = Gemma3ForConditionalGeneration(config)
    # A fresh one starts with a projector of zeros: it would be blind.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.2)
    return model, processor


def blind(model: Any) -> Any:
    """The same model, whose image features are zeroed on their way to the language model."""
    inner = model.model
    # Qwen's vision tower makes the features itself, Qwen3-VL's more than one layer of them.
    tower = inner.visual if hasattr(inner, "visual") else inner.multi_modal_projector
    tower.register_forward_hook(lambda module, given, made: _zeroed(made))
    return model


def _zeroed(made: Any) -> Any:
    if isinstance(made, torch.Tensor):
        return torch.zeros_like(made)
    if isinstance(made, Mapping):  # a model's output: the same class with other tensors
        return type(made)(**{name: _zeroed(value) for name, value in made.items()})
    return type(made)(map(_zeroed, made)) if isinstance(made, list | tuple) else made
