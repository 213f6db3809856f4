"""A Qwen3-VL of a true size and random weights in bfloat16, made without any download.

Sizes are those of the published configurations. The tokenizer spells bytes; its vocabulary is
filled up to the true size, so that embeddings and scores cost what they cost.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from trl.chat_template_utils import qwen3_vl_chat_template

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
NAMED = {"image": 5, "video": 6, "vision_start": 3, "vision_end": 4}
"""Special tokens that the model knows, and their places among `SPECIAL`."""

SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tiny": (
        {"vocab_size": 400, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32},
        {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2,
         "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
    ),
    "2b": (
        {"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
         "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
         "head_dim": 128},
        {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16,
         "num_position_embeddings": 2304, "deepstack_visual_indexes": [5, 11, 17]},
    ),
    "4b": (
        {"vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728,
         "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
         "head_dim": 128},
        {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16,
         "num_position_embeddings": 2304, "deepstack_visual_indexes": [5, 11, 17]},
    ),
}  # fmt: skip
"""By name: the language model and the vision tower."""


def write_model(size: str, folder: Path, view_size: int) -> int:
    """Write a checkpoint of a size into a folder; returns its number of weights.

    `view_size` is the greatest side of an image in pixels.
    """
    text, vision = SIZES[size]
    tokenizer = _tokenizer(text["vocab_size"])
    on_gpu = torch.cuda.is_available()
    with torch.device("cuda" if on_gpu else "cpu"):
        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            model = Qwen3VLForConditionalGeneration(_config(text, vision))
        finally:
            torch.set_default_dtype(before)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    _processor(tokenizer, view_size).save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def _config(text: dict[str, Any], vision: dict[str, Any]) -> Qwen3VLConfig:
    pairs = text["head_dim"] // 2
    own: dict[str, Any] = {
        "max_position_embeddings": 32768,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5_000_000,
            "mrope_interleaved": True,
            "mrope_section": [pairs - 2 * (pairs * 5 // 16), pairs * 5 // 16, pairs * 5 // 16],
        },
        "pad_token_id": 0,
        "eos_token_id": 2,
    }
    sees: dict[str, Any] = {
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": text["hidden_size"],
    }
    ids: dict[str, Any] = {f"{name}_token_id": place for name, place in NAMED.items()}
    return Qwen3VLConfig(
        text_config=text | own, vision_config=vision | sees, tie_word_embeddings=True, **ids
    )


def _tokenizer(size: int) -> PreTrainedTokenizerFast:
    vocabulary = {token: number for number, token in enumerate(SPECIAL)}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    while len(vocabulary) < size:
        vocabulary[f"fill{len(vocabulary)}"] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        additional_special_tokens=[SPECIAL[1], *SPECIAL[3:]],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_specific_special_tokens={f"{n}_token": SPECIAL[place] for n, place in NAMED.items()},
    )


def _processor(tokenizer: PreTrainedTokenizerFast, view_size: int) -> Qwen3VLProcessor:
    images = Qwen2VLImageProcessor(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 32 * 32, "longest_edge": view_size * view_size},
    )
    return Qwen3VLProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(patch_size=16),
        chat_template=qwen3_vl_chat_template,
    )
