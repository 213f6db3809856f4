"""Every key of [sft] and [lora] that is passed on has its effect: other weights are learned."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.local_model import local_model
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.models.settings import SETTINGS as LORA_SETTINGS
from medgym.train.sft.config import sft_config
from medgym.train.sft.settings import SETTINGS
from medgym.train.sft.trainer import supervised
from medgym.train.tiny.model import TinyConfig, build_model
from tests.train.key_cases import ARRIVES, ENDS, FILES, LORA, SFT, SFT_ARRIVES, SFT_LOGS, TRAINER

SMALL = TinyConfig(hidden=32, text_layers=2, vision_layers=1, heads=2)


class Learned(NamedTuple):
    """What a run learned, and what it logged at its last step."""

    weights: dict[str, torch.Tensor]
    logs: dict[str, float]

    def is_like(self, other: "Learned") -> bool:
        """Whether the weights are the same to the last bit."""
        return self.weights.keys() == other.weights.keys() and all(
            torch.equal(weight, other.weights[name]) for name, weight in self.weights.items()
        )


Learn = Callable[[dict[str, Any], dict[str, Any] | None], Learned]


@pytest.fixture(scope="module")
def learn(tiny_processor: Any) -> Learn:
    """Learns from four demonstrations by some keys of [sft] and [sft.lora]."""

    def model() -> Any:
        return build_model(SMALL, tiny_processor.tokenizer, seed=0)

    rules = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
    demonstrator = load_policy("scripted:demonstrator,good=0.5,random=0,steps=7")
    pictures: dict[str, Any] = {}

    def keep(messages: Any) -> None:
        pictures.update((part.sha256, part.image) for m in messages for part in m.images)

    policy = local_model(model(), tiny_processor).imitating(demonstrator)
    cases = open_cases("phantom,look=radiograph,question=kind:train[:4]")
    shown = list(collect(cases, policy, rules, seed=1, on_messages=keep, ordered=True))

    @cache
    def run(sft: str, lora: str | None) -> Learned:
        logs: dict[str, float] = {}
        keys = eval(sft)
        SETTINGS.check(keys, "my.toml")
        adapter = None if lora is None else eval(lora)
        if adapter:
            LORA_SETTINGS.check(adapter, "my.toml", "sft.lora")
        model_learned = supervised(
            model(),
            tiny_processor,
            shown,
            pictures.__getitem__,
            keys,
            seed=0,
            lora=adapter,
            on_step=lambda _, figures: logs.update(figures),
        )
        return Learned(dict(model_learned.state_dict()), logs)

    def run_keys(sft: dict[str, Any], lora: dict[str, Any] | None = None) -> Learned:
        base = {"max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 1e-2}
        asked = base | {"num_train_epochs": 1} | sft
        return run(repr(asked), None if lora is None else repr(lora))

    return run_keys


@pytest.mark.parametrize("key", [*TRAINER, *SFT])
def test_a_key_of_sft_changes_what_is_learned(key: str, learn: Learn) -> None:
    case = (TRAINER | SFT)[key]
    with_it = learn(case.beside | {key: case.value}, None)
    assert not with_it.is_like(learn(case.beside, None))


@pytest.mark.parametrize("key", LORA)
def test_a_key_of_lora_changes_what_is_learned(key: str, learn: Learn) -> None:
    case = LORA[key]
    with_it = learn({}, case.beside | {key: case.value})
    assert not with_it.is_like(learn({}, case.beside or {"r": 8}))


@pytest.mark.parametrize("key", SFT_LOGS)
def test_a_key_of_sft_changes_what_is_logged(key: str, learn: Learn) -> None:
    case = SFT_LOGS[key]
    assert learn({key: case.value}, None).logs.keys() - learn({}, None).logs.keys()


def test_the_same_keys_learn_the_same(learn: Learn) -> None:
    """Else every comparison above would pass."""
    same = {"max_steps": 2, "learning_rate": 1e-2, "weight_decay": 0.0}
    assert learn({}, None).is_like(learn(same, None))


FILED = {key: FILES[key].value for key in ("save_steps", "save_total_limit")}
REACHING = ARRIVES | SFT_ARRIVES | FILED


@pytest.mark.parametrize("key", REACHING)
def test_a_key_reaches_the_trainer(key: str, tmp_path: Path) -> None:
    keys = {"save_total_limit": 2, key: REACHING[key]}
    SETTINGS.check(keys, "my.toml")
    found = getattr(sft_config(keys, 0, tmp_path), key)
    assert found != getattr(sft_config({"save_total_limit": 2}, 0, tmp_path), key)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("key", ENDS)
def test_what_cannot_be_had_here_ends_in_the_librarys_own_reason(key: str, learn: Learn) -> None:
    value, said = ENDS[key]
    with pytest.raises(UserError, match=rf"TRL refuses .*{said}.*; fix: ") as caught:
        learn({key: value}, None)
    assert "\n" not in str(caught.value)
