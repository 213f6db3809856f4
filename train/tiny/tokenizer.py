"""The tiny model's tokenizer and processor: whole strings as single tokens, bytes for the rest.

A small model on few cores pays for every token, and almost everything that it reads and writes is
known before: the instructions, the question, the parts of a tool call. `build_tokenizer` makes
each such string one token. Anything else is spelled byte by byte, so that every text has tokens and
decodes to itself.
"""

from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from trl.chat_template_utils import qwen3_vl_chat_template

from medgym.messages import render_answer, render_call

END = "<|im_end|>"
PAD = "<|endoftext|>"
IMAGE = "<|image_pad|>"
VIDEO = "<|video_pad|>"
VISION_START = "<|vision_start|>"
VISION_END = "<|vision_end|>"

SPECIAL = (PAD, "<|im_start|>", END, VISION_START, VISION_END, "<|vision_pad|>", IMAGE, VIDEO)
"""Qwen3-VL's own special tokens; their places are the first ids."""

TEMPLATE = (
    "system\n",
    "user\n",
    "assistant\n",
    "user\n<tool_response>\n",
    "\n</tool_response>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
)
"""What the chat template and the tags of an action are made of."""

PATCH, MERGE = 8, 2
"""Pixels of a patch's side; patches along a side of one visual token."""

MEAN, SPREAD = 0.3, 0.2
"""Of grey levels in 0..1, for all channels: about those of the radiograph phantoms."""


def call_pieces(values: Iterable[int]) -> tuple[str, ...]:
    """The pieces of a `zoom` call on view 0 whose box is made of `values` (thousandths).

    A number is one token together with its comma, so that such a call has six tokens.
    """
    head, tail = render_call("zoom", {"view": 0, "box": [0]}).split("0]")
    numbers = sorted(set(values))
    return (f"{head}", f"]{tail}", *(f"{n}, " for n in numbers), *map(str, numbers))


def answer_pieces(letters: Iterable[str]) -> tuple[str, ...]:
    """The pieces of an answer by letter: the opening tag, then each letter with the closing one.

    The opening tag is a token of its own, so that *whether* to answer is one choice and *what* is
    another.
    """
    opening, closing = render_answer("|").split("|")
    return (opening, *(f"{letter}{closing}" for letter in letters))


def build_tokenizer(pieces: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer in which each of `pieces` is one token, the longest match first.

    Ids depend only on the order of `pieces`; a piece given twice counts once.
    """
    vocabulary = {token: number for number, token in enumerate(SPECIAL)}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    whole = [piece for piece in dict.fromkeys((*TEMPLATE, *pieces)) if piece]
    core.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in whole])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(SPECIAL[1:]),
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_specific_special_tokens={
            "image_token": IMAGE,
            "video_token": VIDEO,
            "vision_start_token": VISION_START,
            "vision_end_token": VISION_END,
        },
    )
    return tokenizer


def build_processor(pieces: Sequence[str], view_size: int) -> Qwen3VLProcessor:
    """A `Qwen3VLProcessor` for views of up to `view_size` x `view_size` pixels.

    Sides are rounded to multiples of 16 pixels, one visual token each 16 x 16; a view of 64 x 64
    has 16 tokens. The chat template is Qwen3-VL's.
    """
    side = PATCH * MERGE
    images = Qwen2VLImageProcessor(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=1,
        size={"shortest_edge": side * side, "longest_edge": view_size * view_size},
        image_mean=[MEAN] * 3,
        image_std=[SPREAD] * 3,
        do_resize=True,
    )
    # A processor without a video processor cannot be built; videos are not used.
    videos = Qwen3VLVideoProcessor(patch_size=PATCH, temporal_patch_size=1)
    return Qwen3VLProcessor(
        image_processor=images,
        tokenizer=build_tokenizer(pieces),
        video_processor=videos,
        chat_template=qwen3_vl_chat_template,
    )
