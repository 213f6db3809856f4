"""The tiny model: a Qwen3-VL of some 0.9 M parameters, built from scratch.

It is an ordinary `Qwen3VLForConditionalGeneration` and is saved and loaded like any. Only its first
weights are ours. A transformer of this width does not leave the plateau from the usual 0.02; it
does from about 1 / sqrt(width), with patches read as cosine waves and with places as sines, so that
from the first step it sees textures and their places.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from .tokenizer import END, IMAGE, MERGE, PAD, PATCH, VIDEO, VISION_END, VISION_START


@dataclass(frozen=True)
class TinyConfig:
    """The tiny model's sizes and how it starts.

    Attributes:
        view_size: greatest side of a view in pixels.
        hidden, text_layers, vision_layers, heads: of the language and the vision model alike.
        initializer_range: standard deviation of fresh weights; about 1 / sqrt(hidden).
        embedding: standard deviation of token embeddings, which are the output weights as well.
        wave: factor on the cosine waves that read a patch.
        mean_wave: share of it that a patch's mean gets, whose variance would drown the others; the
            two slowest waves get three times that.
        position: amplitude of the sin-cos position embeddings of the vision model.
    """

    view_size: int = 64
    hidden: int = 96
    text_layers: int = 3
    vision_layers: int = 2
    heads: int = 4
    initializer_range: float = 0.08
    embedding: float = 0.1
    wave: float = 2.0
    mean_wave: float = 0.1
    position: float = 1.0


def build_model(
    config: TinyConfig, tokenizer: PreTrainedTokenizerFast, seed: int
) -> Qwen3VLForConditionalGeneration:
    """A fresh model for `tokenizer`, in float32; the same seed makes the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(_qwen_config(config, tokenizer))
        _initialise(model, config)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(END)
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids(PAD)
    return model


def _qwen_config(config: TinyConfig, tokenizer: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    ids: dict[str, Any] = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in {
            "image_token_id": IMAGE,
            "video_token_id": VIDEO,
            "vision_start_token_id": VISION_START,
            "vision_end_token_id": VISION_END,
        }.items()
    }
    head = 32
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.hidden,
        "intermediate_size": 3 * config.hidden,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads // 2,
        "head_dim": head,
        "max_position_embeddings": 4096,
        # Of the head's 16 rotated pairs, 6 turn with time, 5 with the row, 5 with the column.
        "rope_scaling": {
            "mrope_interleaved": True,
            "mrope_section": [6, 5, 5],
            "rope_type": "default",
        },
        "rope_theta": 10_000,
        "pad_token_id": tokenizer.convert_tokens_to_ids(PAD),
        "eos_token_id": tokenizer.convert_tokens_to_ids(END),
        "initializer_range": config.initializer_range,
    }
    vision = {
        "depth": config.vision_layers,
        "hidden_size": config.hidden,
        "intermediate_size": 2 * config.hidden,
        "num_heads": config.heads,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 1,
        "out_hidden_size": config.hidden,
        "num_position_embeddings": (config.view_size // PATCH) ** 2,
        "deepstack_visual_indexes": [0],
        "initializer_range": config.initializer_range,
    }
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)


@torch.no_grad()
def _initialise(model: Qwen3VLForConditionalGeneration, config: TinyConfig) -> None:
    vision = model.model.visual
    weight = vision.patch_embed.proj.weight  # (hidden, 3, 1, PATCH, PATCH)
    waves = torch.from_numpy(cosine_waves(PATCH)).to(weight.dtype)[: config.hidden]
    extra = torch.randn(config.hidden - len(waves), PATCH, PATCH) / PATCH
    grey = torch.cat([waves, extra])[:, None, None]
    weight.copy_(config.wave * grey.expand_as(weight) / weight.shape[1])
    weight[0] *= config.mean_wave
    weight[1:3] *= 3 * config.mean_wave
    places = sines(config.view_size // PATCH, config.hidden) * config.position
    vision.pos_embed.weight.copy_(torch.from_numpy(places).to(weight.dtype))
    model.model.language_model.embed_tokens.weight.normal_(0.0, config.embedding)


def cosine_waves(side: int) -> NDArray[np.float64]:
    """The orthonormal two-dimensional cosine basis, slow waves first: (side * side, side, side)."""
    at = (np.arange(side) + 0.5) * math.pi / side
    line = [np.cos(at * k) * math.sqrt((1 if k == 0 else 2) / side) for k in range(side)]
    order = sorted(((u, v) for u in range(side) for v in range(side)), key=lambda p: (sum(p), p))
    return np.stack([np.outer(line[u], line[v]) for u, v in order])


def sines(side: int, width: int) -> NDArray[np.float64]:
    """Sines and cosines of row and column at falling frequencies: (side * side, width)."""
    quarter = width // 4
    frequency = 1.5 / 10.0 ** (np.arange(quarter) / quarter)
    row, column = np.mgrid[0:side, 0:side].reshape(2, -1, 1) * frequency
    return np.concatenate([np.sin(row), np.cos(row), np.sin(column), np.cos(column)], axis=1)
