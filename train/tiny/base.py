"""The bases of the tiny recipes: models that can see and can write, and have no opinion yet.

Each is made once, from phantoms that no recipe trains or judges on, and kept in the cache under a
hash of everything that made it. First its vision is warmed up (`warmup`), then it imitates
dialogues (`dialogues`) through `sft`. Which of them it should follow is left to the recipe. Without
tools the base of `tiny` guesses at once; or it asks for a tool, reads that there is none, and then
guesses. So a policy that has learned to look and has its tools taken away still answers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import transformers
from PIL import Image
from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor

from medgym.cases import open_cases
from medgym.local_model import local_model
from medgym.messages import Message
from medgym.progress import progress
from medgym.rollout import collect
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory

from ..models.checkpoint import save_model
from ..sft.trainer import supervised
from .cache import cached, source_of
from .dialogues import Dialogues, consulting, heard, looking, spoiling
from .model import TinyConfig, build_model
from .tokenizer import build_processor
from .warmup import glimpses, warm_up

MADE_BY = (
    "tiny/base",
    "tiny/dialogues",
    "tiny/model",
    "tiny/tokenizer",
    "tiny/warmup",
    "sft/samples",
    "sft/trainer",
)
"""The files of this room that make a base."""

THREADS = 1
"""Threads of the making, whatever the machine has: another number would round sums differently. A
second one gains a tenth or two on so small a model, and beside other work it costs several times
the time, each of its thousands of short loops waiting for the later of the two."""


@dataclass(frozen=True)
class BaseConfig:
    """What a base is made with.

    Attributes:
        model: sizes and initialisation.
        seed: of the weights and of everything that is random.
        cases: what it learns from; no recipe uses these.
        direct, refused: shares of dialogues without tools; see `dialogues.looking`.
        warm_steps, warm_rate: optimiser steps and learning rate of the warm-up.
        steps, rate, batch: of the dialogues.
        coordinates: weight of the loss on a coordinate, against 1 of other tokens: four numbers
            carry all that is hard about a call.
        spoiled: further cases, for the dialogues of a consultation that spoil its habits; empty for
            the base of a single policy.
        spoil_steps, spoil_rate: of these.
    """

    model: TinyConfig = field(default_factory=TinyConfig)
    seed: int = 0
    cases: str = "phantom,look=radiograph,question=kind:train[:3000]"
    direct: float = 0.1
    refused: float = 0.05
    warm_steps: int = 250
    warm_rate: float = 2e-3
    steps: int = 250
    rate: float = 2e-3
    batch: int = 32
    coordinates: float = 3.0
    spoiled: str = ""
    spoil_steps: int = 60
    spoil_rate: float = 5e-4


_DIAGNOSES = "phantom,look=radiograph+fundus+histology,question=diagnosis:train"

BASES = {
    "tiny": BaseConfig(),
    "tiny-consult": BaseConfig(
        cases=f"{_DIAGNOSES}[:3200]",
        spoiled=f"{_DIAGNOSES}[5000:6000]",
        warm_steps=300,
        steps=340,
    ),
}
"""The bases by the name under which `[model] build` asks for them."""


def tiny_base(config: BaseConfig | None = None) -> Path:
    """The folder of a base model, made on the first call and taken from the cache later.

    Making that of `tiny` takes about two minutes on one core, that of `tiny-consult` about four.
    Raises:
        UserError: nothing can be written to the cache.
    """
    config = config or BASES["tiny"]
    cases, size = open_cases(config.cases), config.model.view_size
    lessons = (
        consulting(cases, size)
        if config.spoiled
        else looking(cases, size, config.direct, config.refused)
    )
    pieces, pictures = heard(lessons)
    made_of = [
        asdict(config),
        list(pieces),
        list(pictures),
        source_of(*MADE_BY),
        torch.__version__,
        transformers.__version__,
    ]

    def build(folder: Path) -> None:
        processor = build_processor(pieces, size)
        model = build_model(config.model, processor.tokenizer, seed_of(config.seed, "weights"))
        with _threads(THREADS):
            _teach(model, processor, lessons, config)
            if config.spoiled:
                _spoil(model, processor, spoiling(open_cases(config.spoiled), size), config)
        save_model(model, processor, folder)

    return cached("tiny", made_of, build)


def tiny() -> Path:
    """The built-in model `tiny`, the base of the recipe of that name."""
    return tiny_base(BASES["tiny"])


def tiny_consult() -> Path:
    """The built-in model `tiny-consult`, the base of the recipe `consult-tiny`."""
    return tiny_base(BASES["tiny-consult"])


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _teach(
    model: Qwen3VLForConditionalGeneration,
    processor: Qwen3VLProcessor,
    lessons: Sequence[Dialogues],
    config: BaseConfig,
) -> None:
    shown, pictures = _shown(model, processor, lessons, seed_of(config.seed, "dialogues"))
    looked = lessons[0].cases
    with progress("base: seeing", config.warm_steps) as advance:
        warm_up(
            model,
            processor,
            glimpses(looked, shown[: len(looked)]),
            pictures,
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
            pictures.__getitem__,
            _schedule(config, config.steps, config.rate),
            seed=seed_of(config.seed, "sft"),
            parts=("language", "vision", "projector"),
            token_weights={i: config.coordinates for t, i in tokens.items() if _is_number(t)},
            on_step=lambda step, logs: advance(1, loss=logs["loss"]),
        )


def _spoil(
    model: Qwen3VLForConditionalGeneration,
    processor: Qwen3VLProcessor,
    lessons: Sequence[Dialogues],
    config: BaseConfig,
) -> None:
    shown, pictures = _shown(model, processor, lessons, seed_of(config.seed, "spoiling"))
    with progress("base: idling", config.spoil_steps) as advance:
        supervised(
            model,
            processor,
            shown,
            pictures.__getitem__,
            _schedule(config, config.spoil_steps, config.spoil_rate),
            seed=seed_of(config.seed, "spoil"),
            on_step=lambda step, logs: advance(1, loss=logs["loss"]),
        )


def _shown(
    model: Qwen3VLForConditionalGeneration,
    processor: Qwen3VLProcessor,
    lessons: Sequence[Dialogues],
    seed: int,
) -> tuple[list[Trajectory], dict[str, Image.Image]]:
    """The dialogues in the model's tokens, and the images that they show."""
    player = local_model(model, processor)
    pictures: dict[str, Image.Image] = {}

    def keep(messages: Sequence[Message]) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    shown: list[Trajectory] = []
    with progress("base: dialogues", sum(len(each.cases) for each in lessons)) as advance:
        for each in lessons:
            imitation = player.imitating(each.policy)
            stream = collect(
                each.cases, imitation, each.rules, seed=seed, on_messages=keep, ordered=True
            )
            for trajectory in stream:
                shown.append(trajectory)
                advance()
    return shown, pictures


def _schedule(config: BaseConfig, steps: int, rate: float) -> dict[str, object]:
    """Keys of `trl.SFTConfig`: up over a tenth of the steps, level, down along a half cosine."""
    return {
        "max_steps": steps,
        "learning_rate": rate,
        "per_device_train_batch_size": config.batch,
        "adam_beta2": 0.98,
        "weight_decay": 0.01,
        "lr_scheduler_type": "warmup_stable_decay",
        "lr_scheduler_kwargs": {"num_decay_steps": steps * 7 // 10, "min_lr_ratio": 0.02},
        "warmup_steps": steps // 10,
    }


def _is_number(piece: str) -> bool:
    return piece.removesuffix(", ").isdecimal()
