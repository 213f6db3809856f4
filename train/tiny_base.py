"""The base of the tiny recipes: a model that can see and can write, and has no opinion yet.

It is made once, from phantoms that no recipe trains or judges on, and kept in the cache under a
hash of everything that made it. First its vision is warmed up (`warmup`), then it imitates
dialogues in which it looks, mostly in the right place, or guesses, with and without tools (`sft`).
What it should do of all that is left to the recipe. Without tools it guesses at once, or asks for
one, is told that there is none, and then guesses: so a policy that has learned to look and has its
tools taken away still answers.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from medgym.cases import LETTERS, Case, open_cases
from medgym.env import load_tools
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import Calls, Message, Reply, parse_action, render_call
from medgym.policy import Policy, Sampling, load_policy
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

THREADS = 1
"""Threads of the making, whatever the machine has: another number would round sums differently. A
second one gains a tenth or two on so small a model, and beside other work it costs several times
the time, each of its thousands of short loops waiting for the later of the two."""


@dataclass(frozen=True)
class BaseConfig:
    """What the base is made with.

    Attributes:
        model: sizes and initialisation.
        seed: of the weights and of every order and draw.
        cases: what it learns from; no recipe uses these.
        looking: the demonstrator that it imitates.
        direct: share of further dialogues in which there is no tool and it guesses at once.
        refused: share of those in which it calls a tool that is not there, then guesses.
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
    refused: float = 0.05
    warm_steps: int = 250
    warm_rate: float = 2e-3
    steps: int = 250
    rate: float = 2e-3
    batch: int = 32
    coordinates: float = 3.0


def tiny_base(config: BaseConfig | None = None) -> Path:
    """The folder of the base model, made on the first call and taken from the cache on later ones.

    Making it takes about a minute and a half on one core. The cache is `$XDG_CACHE_HOME/medgym`
    (else `~/.cache/medgym`).

    Raises:
        UserError: nothing can be written there.
    """
    config = config or BaseConfig()
    cases = open_cases(config.cases)
    with_tool = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=config.model.view_size)
    bare = Rules(max_turns=2, view_size=config.model.view_size)
    pieces, pictures = _heard(cases[:64], with_tool, bare)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medgym"
    folder = cache / f"tiny-{_fingerprint(config, pieces, pictures)}"
    if folder.exists():
        return folder
    # Written under another name and renamed, so that it is there whole or not at all.
    making = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        making.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {cache} ({error.strerror}); "
            "mend: name another folder by XDG_CACHE_HOME"
        ) from error
    try:
        processor = build_processor(pieces, config.model.view_size)
        model = build_model(config.model, processor.tokenizer, seed_of(config.seed, "weights"))
        with _threads(THREADS):
            _teach(model, processor, cases, with_tool, bare, config)
        save_model(model, processor, making)
        try:
            making.rename(folder)
        except OSError:  # another process has made the same one meanwhile
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _teach(
    model: Any,
    processor: Any,
    cases: Sequence[Case],
    with_tool: Rules,
    bare: Rules,
    config: BaseConfig,
) -> None:
    player = load("policies", "hf")(model, processor)
    looker = load_policy(config.looking)
    direct, refused = (round(share * len(cases)) for share in (config.direct, config.refused))
    parts = (
        (cases, looker, with_tool),
        (cases[:direct], looker, bare),
        (cases[direct : direct + refused], _Stubborn(), bare),
    )
    pictures: dict[str, Image.Image] = {}

    def keep(messages: Sequence[Message]) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    seed = seed_of(config.seed, "dialogues")
    shown: list[Trajectory] = []
    with progress("base: dialogues", len(cases) + direct + refused) as advance:
        for some, policy, rules in parts:
            imitation = player.imitating(policy)
            stream = collect(some, imitation, rules, seed=seed, on_messages=keep, ordered=True)
            for trajectory in stream:
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


class _Stubborn(Policy):
    """Calls `zoom` whether there is one or not, then guesses."""

    spec = "a stubborn looker"

    def __init__(self) -> None:
        self._prior = load_policy("scripted:prior")

    @classmethod
    def from_spec(cls, rest: str, adapter: str | None) -> Policy:
        """It has no spec."""
        raise NotImplementedError

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        if any(each.role == "assistant" for each in conversation):
            return await self._prior.act(conversation, sampling)
        return Reply(render_call("zoom", {"view": 0, "box": [250, 250, 500, 500]}))


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

    parts = (
        (cases, looker, with_tool),
        (cases[:1], looker, bare),
        (cases[:1], _Stubborn(), bare),
    )
    for some, policy, rules in parts:
        for _ in collect(some, policy, rules, on_messages=listen, concurrency=1):
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
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
