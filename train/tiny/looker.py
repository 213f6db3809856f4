"""A model that looks a fixed number of times and then answers: its weights are set by hand.

To compare two engines, a policy is needed whose episodes have the same number of turns, tokens and
images on either side, whatever is sampled. This one has the architecture of the tiny model
(`TinyConfig`). A token leads to the next one of a reply, and one attention head finds whether the
caption of the last view that it asks for is in the conversation. Where it looks is sampled each
time, from a few boxes, and so is its answer. The whole model is computed, so that a reply costs
what it costs in any model of its size; the pixels play no part.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise, product
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from medgym.cases import LETTERS, open_cases
from medgym.instructions import instructions
from medgym.tool import load_tools

from ..models.checkpoint import save_model
from .cache import cached, source_of
from .model import TinyConfig, build_model
from .tokenizer import END, answer_pieces, build_processor, call_pieces

CASES = "phantom,look=radiograph,question=kind:train[:48]"
"""What it reads: other questions are spelled byte by byte and take longer."""

SIDE = 512
"""Pixels of a side of those images."""

COORDINATES = ((125, 250, 375), (150, 275, 400), (500, 625, 750), (525, 650, 775))
"""Thousandths among which x0, y0, x1 and y1 are sampled. No number is there twice, for the last
token decides the next one."""

STATES = ("ask", "head", "x0", "y0", "x1", "y1", "tail", "open", "letter")
"""What the last token may be, each with a dimension of the model's state: the template's
`assistant`, the parts of a call, the parts of an answer."""

SIGNAL, SEEN = len(STATES), len(STATES) + 1
"""Two more dimensions: this is the caption of the last view; it is in the conversation."""

REACH = 1000.0
"""Tokens of a conversation in which one caption is noticed."""

SURE = 4.0
"""Logits, for each unit of a normalised state, of what is to be written above what is not. A state
has the length of the square root of the model's width, 9.8, so that one reply in e^39 strays."""


@dataclass(frozen=True)
class LookerConfig:
    """How often it looks, and the sizes of its model."""

    looks: int = 3
    model: TinyConfig = field(default_factory=TinyConfig)


MADE_BY = ("tiny/looker", "tiny/model", "tiny/tokenizer")
"""The files of this room that make it."""


def looker(folder: Path | None = None, config: LookerConfig | None = None) -> Path:
    """Write the model and its processor into a folder, as an ordinary checkpoint; returns it.

    Without a folder it is kept in the cache of built-in models.
    """
    config = config or LookerConfig()
    if folder is None:
        versions = [torch.__version__, transformers.__version__]
        made_of = [asdict(config), source_of(*MADE_BY), versions]
        return cached("looker", made_of, lambda making: _write(making, config))
    _write(folder, config)
    return folder


def _write(folder: Path, config: LookerConfig) -> None:
    processor = build_processor(_pieces(config.looks), config.model.view_size)
    model = build_model(config.model, processor.tokenizer, seed=0)
    _untie(model)
    _programme(model, processor.tokenizer, config.looks)
    save_model(model, processor, folder)


def _pieces(looks: int) -> list[str]:
    """The strings that its conversations are made of."""
    cases = open_cases(CASES)
    letters = LETTERS[: len(cases[0].options)]
    lines = [*instructions(load_tools(["zoom"])).splitlines(keepends=True)]
    lines += [f"View 0: image 0, {SIDE} x {SIDE} pixels.\n", "Options:\n"]
    lines += [f"Question: {case.question}\n" for case in cases]
    options = [f"{letter}. {kind}" for letter in letters for kind in cases[0].options]
    lines += [*(f"{option}\n" for option in options), *options]
    x0, y0, x1, y1 = ([round(v * SIDE / 1000) for v in values] for values in COORDINATES)
    lines += [f"{right - left} x " for left, right in product(x0, x1)]
    lines += [f"{low - high} pixels of image 0." for high, low in product(y0, y1)]
    lines += [_caption(number) for number in range(1, looks + 1)]
    numbers = [value for values in COORDINATES for value in values]
    return [*lines, *call_pieces(numbers), *answer_pieces(letters)]


def _caption(view: int) -> str:
    return f"View {view}: "


def _untie(model: Qwen3VLForConditionalGeneration) -> None:
    """Give the model output weights of its own."""
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    model.all_tied_weights_keys = {}


@torch.no_grad()
def _programme(
    model: Qwen3VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, looks: int
) -> None:
    language = model.model.language_model
    width = model.config.get_text_config().hidden_size
    for layer in language.layers:  # a state is the last token's embedding, and stays so,
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    first = language.layers[0].self_attn  # but for what the first head says:
    first.q_proj.weight.zero_()  # it attends to all tokens alike,
    first.v_proj.weight.zero_()
    first.v_proj.weight[0, SIGNAL] = width**-0.5
    first.o_proj.weight[SEEN, 0] = REACH / 10  # and finds a tenth of a state or more.
    model.model.visual.merger.linear_fc2.weight[SIGNAL] = 0
    model.model.visual.merger.linear_fc2.bias[SIGNAL] = 0

    tokens = _tokens(tokenizer)
    embedding = language.embed_tokens.weight
    embedding[:, : SEEN + 1] = 0
    for dimension, state in enumerate(STATES):
        embedding[tokens[state]] = 0
        embedding[tokens[state], dimension] = 1
    caption = tokenizer.convert_tokens_to_ids(_caption(looks))
    embedding[caption] = 0
    embedding[caption, SIGNAL] = 1

    output = model.lm_head.weight
    following = {**dict(pairwise(STATES)), "tail": "end", "letter": "end"}
    for dimension, state in enumerate(STATES):
        output[tokens[following[state]], dimension] = 2 * SURE
    output[tokens["open"]] = 0
    output[tokens["open"], : len(STATES)] = -100 * SURE
    output[tokens["open"], 0] = SURE
    output[tokens["open"], SEEN] = 20 * SURE


def _tokens(tokenizer: PreTrainedTokenizerFast) -> dict[str, list[int]]:
    """The tokens that are each of `STATES`, and `end`."""
    numbers = [[f"{value}, " for value in values] for values in COORDINATES[:3]]
    head, tail, *_ = call_pieces(())
    opening, *letters = answer_pieces(LETTERS)
    known = tokenizer.get_vocab()
    texts: Sequence[Sequence[str]] = (
        ["assistant\n"], [head], *numbers, [str(v) for v in COORDINATES[3]], [tail], [opening],
        [letter for letter in letters if letter in known],
    )  # fmt: skip
    found = zip((*STATES, "end"), (*texts, [END]), strict=True)
    return {state: [known[text] for text in strings] for state, strings in found}
