"""Tiny checkpoints with random weights, as `save_pretrained` writes them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers as tf

SIDE = 32
"""Pixels a side of what the tiny models are shown."""

KINDS = {0: "nodule", 1: "mass", 2: "cyst"}

_SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def saved(folder: Path, config: Any, kind: Any, processor: Any) -> Path:
    """A model of a class with random weights, and its processor, in a folder."""
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def vit(folder: Path, **config: Any) -> Path:
    """A classifier with classes of its own."""
    made = tf.ViTConfig(image_size=SIDE, patch_size=8, id2label=KINDS, **_SMALL, **config)
    return saved(folder, made, tf.ViTForImageClassification, tf.ViTImageProcessor(size=_square()))


def yolos(folder: Path) -> Path:
    """A detector with classes of its own."""
    made = tf.YolosConfig(
        image_size=[SIDE, SIDE], patch_size=8, num_detection_tokens=5, id2label=KINDS, **_SMALL
    )
    processor = tf.YolosImageProcessor(size=_square(), do_pad=False)
    return saved(folder, made, tf.YolosForObjectDetection, processor)


def _square() -> dict[str, int]:
    return {"height": SIDE, "width": SIDE}


@cache
def _tokenizer() -> Any:
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    vocab |= {"<|startoftext|>": len(vocab), "<|endoftext|>": len(vocab) + 1}
    return tf.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def _texts(kind: Any) -> Any:
    tokenizer = _tokenizer()
    return kind(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        max_position_embeddings=77,
        **_SMALL,
    )


def clip(folder: Path) -> Path:
    """A classifier that is asked by text."""
    vision = tf.CLIPVisionConfig(image_size=SIDE, patch_size=8, **_SMALL)
    config = tf.CLIPConfig(
        text_config=_texts(tf.CLIPTextConfig).to_dict(), vision_config=vision.to_dict(),
        projection_dim=8,
    )  # fmt: skip
    images = tf.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=_square())
    return saved(folder, config, tf.CLIPModel, tf.CLIPProcessor(images, _tokenizer()))


def owl(folder: Path) -> Path:
    """A detector that is asked by text."""
    vision = tf.OwlViTVisionConfig(image_size=SIDE, patch_size=8, **_SMALL)
    config = tf.OwlViTConfig(
        text_config=_texts(tf.OwlViTTextConfig).to_dict(), vision_config=vision.to_dict(),
        projection_dim=16,
    )  # fmt: skip
    images = tf.OwlViTImageProcessor(size=_square(), do_center_crop=False)
    return saved(
        folder, config, tf.OwlViTForObjectDetection, tf.OwlViTProcessor(images, _tokenizer())
    )


def sam2(folder: Path, *, memory: bool = True) -> Path:
    """A SAM 2 with its memory (as SAM 2.1 and MedSAM2 are saved), or without."""
    side = 64
    backbone = tf.Sam2HieraDetConfig(
        hidden_size=8, image_size=[side, side], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[8, 4, 4, 2], global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    parts = {
        "vision_config": tf.Sam2VisionConfig(
            backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=128,
            backbone_feature_sizes=[[side // 4] * 2, [side // 8] * 2, [side // 16] * 2],
        ),
        "prompt_encoder_config": {"hidden_size": 128, "image_size": side, "mask_input_channels": 4},
        "mask_decoder_config": {
            "hidden_size": 128, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32,
        },
    }  # fmt: skip
    images = tf.Sam2ImageProcessor(
        size={"height": side, "width": side}, mask_size={"height": side // 4, "width": side // 4}
    )
    if not memory:
        return saved(folder, tf.Sam2Config(**parts), tf.Sam2Model, tf.Sam2Processor(images))
    config = tf.Sam2VideoConfig(
        **parts, image_size=side, memory_attention_hidden_size=128, memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32, memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64, mask_downsampler_embed_dim=128,
        memory_fuser_num_layers=1, memory_fuser_embed_dim=128, memory_fuser_intermediate_dim=32,
        memory_attention_rope_feat_sizes=[side // 16] * 2, num_maskmem=3,
    )  # fmt: skip
    videos = tf.Sam2VideoVideoProcessor(size={"height": side, "width": side})
    processor = tf.Sam2VideoProcessor(images, videos)
    return saved(folder, config, tf.Sam2VideoModel, processor)


def segformer(folder: Path) -> Path:
    """A semantic segmenter with classes of its own."""
    config = tf.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 8],
        patch_sizes=[3, 3], strides=[2, 2], num_attention_heads=[1, 1], mlp_ratios=[1, 1],
        decoder_hidden_size=8, id2label={0: "background", 1: "left lung", 2: "heart"},
    )  # fmt: skip
    processor = tf.SegformerImageProcessor(size=_square())
    return saved(folder, config, tf.SegformerForSemanticSegmentation, processor)


def mask2former(folder: Path) -> Path:
    """A universal segmenter with classes of its own."""
    backbone = tf.SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1],
        window_size=2, out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = tf.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=8, encoder_layers=1, decoder_layers=2, num_attention_heads=1,
        dim_feedforward=8, num_queries=5, id2label={0: "lung", 1: "heart"},
    )  # fmt: skip
    processor = tf.Mask2FormerImageProcessor(size={"height": 64, "width": 64}, size_divisor=0)
    return saved(folder, config, tf.Mask2FormerForUniversalSegmentation, processor)


def clipseg(folder: Path) -> Path:
    """A segmenter that is asked by text."""
    vision = tf.CLIPSegVisionConfig(image_size=SIDE, patch_size=8, **_SMALL)
    config = tf.CLIPSegConfig(
        text_config=_texts(tf.CLIPSegTextConfig).to_dict(), vision_config=vision.to_dict(),
        projection_dim=8, reduce_dim=8, extract_layers=[0], decoder_num_attention_heads=1,
        decoder_intermediate_size=8,
    )  # fmt: skip
    images = tf.ViTImageProcessor(size=_square())
    processor = tf.CLIPSegProcessor(images, _tokenizer())
    return saved(folder, config, tf.CLIPSegForImageSegmentation, processor)


def monai_bundle(folder: Path, dims: int = 2, *, ahead: bool = False, **config: Any) -> Path:
    """A bundle of a network of one convolution; the more white, the surer it is of class 1.

    Args:
        ahead: of a volume: it looks at the next voxel toward the patient's right.
    """
    configs = folder / "configs"
    configs.mkdir(parents=True)
    (folder / "models").mkdir()
    transforms: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0,
         "b_max": 1, "clip": True},
    ]  # fmt: skip
    if dims == 3:
        transforms.insert(
            2, {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None}
        )
        transforms.append({"_target_": "SpatialPadd", "keys": "image", "spatial_size": [32, 32, 8]})
    network = {
        "_target_": "torch.nn.Conv2d" if dims == 2 else "torch.nn.Conv3d",
        "in_channels": 1, "out_channels": 2, "kernel_size": 3 if ahead else 1,
        "padding": 1 if ahead else 0,
    }  # fmt: skip
    inference = {
        "device": "$torch.device('cuda:0')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16] * dims, "overlap": 0.25},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
        },
    } | config
    metadata = {
        "network_data_format": {
            "inputs": {"image": {"num_channels": 1, "spatial_shape": [16] * dims}},
            "outputs": {
                "pred": {"num_channels": 2, "channel_def": {"0": "background", "1": "bright spot"}}
            },
        }
    }
    (configs / "inference.json").write_text(json.dumps(inference))
    (configs / "metadata.json").write_text(json.dumps(metadata))
    weight = torch.tensor([-10.0, 10.0]).reshape(2, 1, *[1] * dims)
    if ahead:
        weight = torch.nn.functional.pad(weight, (1, 1, 1, 1, 2, 0))
    weights = {"weight": weight, "bias": torch.tensor([5.0, -5.0])}
    torch.save(weights, folder / "models" / "model.pt")
    return folder


def sam2_without_memory(folder: Path) -> Path:
    """A SAM 2 that was saved as one for single images."""
    return sam2(folder, memory=False)


def bundle_2d(folder: Path) -> Path:
    """A bundle for images."""
    return monai_bundle(folder)


def bundle_3d(folder: Path) -> Path:
    """A bundle for volumes."""
    return monai_bundle(folder, 3)
