"""The base of the recipe `tiny-tools`: a model that can use three tools, and need not.

It is made as that of `tiny` is (`base`): its vision is warmed up, then it imitates dialogues.
"""

from dataclasses import asdict
from pathlib import Path

import torch
import transformers

from medgym.cases import open_cases
from medgym.progress import progress
from medgym.seeds import seed_of
from medgym.sources.phantom.rules import FIRST_WORDS, SECOND_WORDS

from ..models.checkpoint import save_model
from ..sft.trainer import supervised
from .base import MADE_BY, THREADS, BaseConfig, _schedule, _shown, _threads
from .cache import cached, source_of
from .model import build_model
from .tokenizer import build_processor
from .tool_dialogues import heard, looking
from .warmup import glimpses, warm_up

TOOLS = BaseConfig(
    cases="phantom,look=radiograph,question=kind+length+stage:train[:7500]",
    warm_steps=300,
    steps=900,
)
"""What the base of `tiny-tools` is made with."""

MEASURED = "phantom,look=radiograph,question=length:train[200000:202500]"
"""Further cases of it that ask for a length."""


def tools_base(config: BaseConfig = TOOLS, measured: str = MEASURED) -> Path:
    """The folder of the base, made on the first call and taken from the cache later.

    Raises:
        UserError: nothing can be written to the cache.
    """
    cases, size = open_cases(config.cases), config.model.view_size
    lessons = looking(cases, open_cases(measured), size, config.direct, config.refused)
    pieces, pictures = heard(lessons)
    versions = [torch.__version__, transformers.__version__]
    source = source_of(*MADE_BY, "tiny/tools", "tiny/tool_dialogues")
    made_of = [asdict(config), measured, pieces, pictures, source, versions]

    def build(folder: Path) -> None:
        processor = build_processor(pieces, size)
        model = build_model(config.model, processor.tokenizer, seed_of(config.seed, "weights"))
        with _threads(THREADS):
            shown, images = _shown(model, processor, lessons, seed_of(config.seed, "dialogues"))
            looked = [*lessons[0].cases, *lessons[1].cases]
            with progress("base: seeing", config.warm_steps) as advance:
                warm_up(
                    model,
                    processor,
                    glimpses(looked, shown[: len(looked)]),
                    images,
                    steps=config.warm_steps,
                    seed=seed_of(config.seed, "warm-up"),
                    learning_rate=config.warm_rate,
                    on_step=lambda step, loss: advance(1, loss=loss),
                )
            tokens = processor.tokenizer.get_added_vocab()
            with progress("base: speaking", config.steps) as advance:
                supervised(
                    model,
                    processor,
                    shown,
                    images.__getitem__,
                    _schedule(config, config.steps, config.rate),
                    seed=seed_of(config.seed, "sft"),
                    parts=("language", "vision", "projector"),
                    token_weights={i: config.coordinates for t, i in tokens.items() if _is_said(t)},
                    on_step=lambda step, logs: advance(1, loss=logs["loss"]),
                )
        save_model(model, processor, folder)

    return cached("tiny-tools", made_of, build)


def tiny_tools() -> Path:
    """The built-in model `tiny-tools`, the base of the recipe of that name."""
    return tools_base()


def _is_said(piece: str) -> bool:
    """Whether a token is what a call is about: a coordinate, or a word of a rule."""
    return piece.strip("[], ").isdecimal() or piece.rstrip() in (*FIRST_WORDS, *SECOND_WORDS)
