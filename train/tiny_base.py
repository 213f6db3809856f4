"""The base of the tiny recipes: a model that can see and can write, and has no opinion yet.

It is made once, from phantoms that no recipe trains or judges on, and kept in the cache under a
hash of everything that made it. First its vision is warmed up (`warmup`), then it imitates
dialogues in which it looks, mostly in the right place, or guesses, with and without tools (`sft`).
What it should do of all that is left to the recipe.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from medgym.cases import LETTERS, Case, open_cases
from medgym.env import load_tools
from medgym.episode import Rules
from medgym.messages import Calls, Message, parse_action
from medgym.policy import load_policy
from medgym.progress import progress
from medgym.registry import load
from medgym.rollout import collect
from medgym.seeds import seed_of
from medgym.trajectory import Trajectory

from .checkpoint import save_model
from .recipe import SFTTable
from .sft import supervised
from .tiny_model import TinyConfig, build_model
from .tiny_tokenizer import answer_pieces, build_processor, call_pieces
from .warmup import glimpses, warm_up


@dataclass(frozen=True)
class BaseConfig:
    """What the base is made with.

    Attributes:
        model: sizes and initialisation.
        seed: of the weights and of every order and draw.
        cases: what it learns from; no recipe uses these.
        looking: the demonstrator that it imitates.
        direct: share of further dialogues in which there is no tool and it has to guess.
        warm_steps, warm_rate: optimiser steps and learning rate of the warm-up.
        steps, rate, batch: of the dialogues.
        coordinates: weight of the loss on a coordinate, against 1 of other tokens: four numbers
            carry all that is hard about a call.
    """

    model: TinyConfig = field(default_factory=TinyConfig)
    seed: int = 0
    cases: str = "phantom,look=radiograph,question=kind:train[:3000]"
    looking: str = "scripted:demonstrator,good=0.7,random=0.15,steps=7"
    direct: float = 0.1
    warm_steps: int = 250
    warm_rate: float = 2e-3
    steps: int = 250
    rate: float = 2e-3
    batch: int = 32
    coordinates: float = 3.0


def tiny_base(config: BaseConfig | None = None) -> Path:
    """The folder of the base model, made on the first call and taken from the cache on later ones.

    The cache is `$XDG_CACHE_HOME/medgym` (else `~/.cache/medgym`).
    """
    config = config or BaseConfig()
    cases = open_cases(config.cases)
    with_tool = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=config.model.view_size)
    bare = Rules(max_turns=2, view_size=config.model.view_size)
    pieces, pictures = _heard(cases[:64], with_tool, bare)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medgym"
    folder = cache / f"tiny-{_fingerprint(config, pieces, pictures)}"
    if not folder.exists():
        processor = build_processor(pieces, config.model.view_size)
        model = build_model(config.model, processor.tokenizer, seed_of(config.seed, "weights"))
        _teach(model, processor, cases, with_tool, bare, config)
        # Whole or not at all: another process may be making the same one.
        making = folder.with_name(f".{folder.name}-{os.getpid()}")
        save_model(model, processor, making)
        try:
            making.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    return folder


def _teach(
    model: Any,
    processor: Any,
    cases: Sequence[Case],
    with_tool: Rules,
    bare: Rules,
    config: BaseConfig,
) -> None:
    policy = load("policies", "hf")(model, processor).imitating(load_policy(config.looking))
    pictures: dict[str, Image.Image] = {}

    def keep(messages: Sequence[Message]) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    seed = seed_of(config.seed, "dialogues")
    shown: list[Trajectory] = []
    direct = round(config.direct * len(cases))
    with progress("base: dialogues", len(cases) + direct) as advance:
        for rules, some in ((with_tool, cases), (bare, cases[:direct])):
            for trajectory in collect(some, policy, rules, seed=seed, on_messages=keep):
                shown.append(trajectory)
                advance()
    with progress("base: seeing", config.warm_steps) as advance:
        warm_up(
            model,
            processor,
            glimpses(cases, shown[: len(cases)]),
            pictures,
            kinds=len(cases[0].options),
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
            pictures,
            SFTTable(
                max_steps=config.steps,
                learning_rate=config.rate,
                per_device_train_batch_size=config.batch,
                train_vision=True,
            ),
            seed=seed_of(config.seed, "sft"),
            token_weights={i: config.coordinates for t, i in tokens.items() if _is_number(t)},
            on_step=lambda step, loss: advance(1, loss=loss),
        )


def _is_number(piece: str) -> bool:
    return piece.removesuffix(", ").isdecimal()


def _heard(cases: Sequence[Case], with_tool: Rules, bare: Rules) -> tuple[list[str], list[str]]:
    """The strings that dialogues are made of, found by playing some; and the views' hashes."""
    looker = load_policy("scripted:demonstrator,good=0,random=1,steps=7")
    texts: dict[str, None] = {}
    values: set[int] = set()
    pictures: list[str] = []

    def listen(messages: Sequence[Message]) -> None:
        for each in messages:
            pictures.extend(part.sha256 for part in each.images)
            if each.role != "assistant":
                texts[each.text] = None
                continue
            action = parse_action(each.text)
            if isinstance(action, Calls):
                values.update(v for call in action.calls for v in call.arguments["box"])

    for rules in (with_tool, bare):
        for _ in collect(cases, looker, rules, on_messages=listen):
            pass
    letters = LETTERS[: max(len(case.options) for case in cases)]
    return [*texts, *call_pieces(values), *answer_pieces(letters)], pictures


def _fingerprint(config: BaseConfig, pieces: Sequence[str], pictures: Sequence[str]) -> str:
    """A hash of everything that makes the base: settings, texts, some pixels, code, versions."""
    code = [
        Path(__file__).with_name(f"{name}.py").read_text("utf-8")
        for name in ("tiny_base", "tiny_model", "tiny_tokenizer", "warmup", "sft")
    ]
    made_of = [
        asdict(config),
        list(pieces),
        list(pictures),
        code,
        torch.__version__,
        transformers.__version__,
        torch.get_num_threads(),  # sums in another order round differently
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
