"""Every key of [grpo] that is passed on has its effect: other weights are learned, or other figures
are logged, or other files are there."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from medgym import Sampling, load_policy, open_cases
from medgym.cases import Case as Question
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.rubric import Rubric, Term
from medgym.storage.layout import Place
from medgym.tool import load_tools
from medgym.train.grpo.config import grpo_config
from medgym.train.grpo.dynamic_sampling import Group
from medgym.train.grpo.stage import train_grpo
from medgym.train.grpo.trainer import LookingTrainer
from medgym.train.models.checkpoint import load_model
from medgym.train.models.lora import lora_config
from medgym.train.recipe.schema import Recipe, parse_recipe
from tests.train.key_cases import (
    ARRIVES,
    ENDS,
    FILES,
    GRPO,
    GRPO_ARRIVES,
    GRPO_LOGS,
    SHAPES,
    TRAINER,
)
from tests.train.key_cases import Case as KeyCase

BASE = {
    "max_steps": 2, "per_device_train_batch_size": 4, "num_generations": 2, "learning_rate": 1e-2,
    "save_strategy": "no", "report_to": ["none"],
}  # fmt: skip
LORA = {"r": 2, "target_modules": r".*language_model.*(q|v)_proj"}

Played = dict[Any, tuple[Group, dict[str, Any]]]


class Replaying(LookingTrainer):
    """Rolls out once for all runs what the same weights sample in all of them."""

    known: Played
    width = 0

    def played(self, cases: Sequence[Question], rules: Rules, *purpose: object) -> Group:
        if self.state.global_step and self._policy is self.local:
            return super().played(cases, rules, *purpose)
        key = (self.state.global_step, purpose, *(case.id for case in cases))
        if key not in self.known:
            self.known[key] = (super().played(cases, rules, *purpose), dict(self.pictures))
        pairs, pictures = self.known[key]
        self._rollouts.pictures.update(pictures)
        return pairs

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        made = super()._generate_and_score_completions(inputs)
        self.width = made["completion_ids"].shape[1]
        return made


class Learned(NamedTuple):
    """What a run learned and logged, the tokens of its longest completion, padding included, and
    its checkpoints and tables."""

    weights: dict[str, torch.Tensor]
    logs: list[dict[str, float]]
    width: int
    files: list[str]

    def is_like(self, other: "Learned") -> bool:
        """Whether the weights are the same to the last bit."""
        return self.weights.keys() == other.weights.keys() and all(
            torch.equal(weight, other.weights[name]) for name, weight in self.weights.items()
        )


def recipe(grpo: dict[str, Any], **tables: Any) -> Recipe:
    cases = {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}
    data = {"name": "small", "model": {"path": "base"}, "cases": cases, "grpo": grpo, **tables}
    return parse_recipe(data, "my.toml")


def rubric() -> Rubric:
    """Two terms by which random replies earn unequally."""

    def earn(divisor: int) -> Any:
        return lambda _, episode: sum(map(ord, episode.turns[0].reply)) % divisor / divisor

    return Rubric("uneven", (Term("one", 1.0, earn(7)), Term("two", 0.5, earn(3))))


Learn = Callable[[dict[str, Any], str], Learned]


@pytest.fixture(scope="module")
def learn(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Learn:
    """Learns by some keys of [grpo]: an adapter; with dropout; the `whole` model; or an adapter on
    what another model sampled as an `engine`."""
    known: dict[str, Played] = {}
    cases = open_cases("phantom,look=radiograph,question=kind:train[:4]")
    rules = Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=2, rubric=rubric())

    @cache
    def engine() -> Any:
        policy: Any = load_policy(f"hf:{tiny_folder}")
        with torch.no_grad():
            for weight in policy.model.parameters():
                weight += 0.002 * torch.randn(
                    weight.shape, generator=torch.Generator().manual_seed(0)
                )
        return policy

    @cache
    def run(grpo: str, kind: str) -> Learned:
        model, processor = load_model(tiny_folder)
        rollout = {"policy": "vllm:{base}"} if kind == "engine" else {}
        asked = recipe(eval(grpo), rollout=rollout)
        folder = tmp_path_factory.mktemp("grpo")
        lora = LORA | ({"lora_dropout": 0.5} if kind == "dropout" else {})
        trainer = Replaying(
            args=grpo_config(asked, folder),
            model=model,
            processing_class=processor,
            peft_config=None if kind == "whole" else lora_config(model, lora, ("language",)),
            cases=cases,
            rules=rules,
            sampling=Sampling(max_tokens=6),
            policy=engine() if kind == "engine" else None,
        )
        trainer.known = known.setdefault("engine" if kind == "engine" else "", {})
        trainer.train()
        learned = {n: w.detach() for n, w in trainer.model.named_parameters() if w.requires_grad}
        trainer.close()
        files = [*folder.glob("checkpoint-*"), *folder.glob("completions/*")]
        names = sorted(file.name for file in files)
        return Learned(learned, trainer.state.log_history, trainer.width, names)

    return lambda grpo, kind="": run(repr(BASE | grpo), kind)


def compared(learn: Learn, key: str, case: KeyCase) -> tuple[Learned, Learned]:
    """A run with a key, and one without it."""
    with_it = learn(case.beside | case.too | {key: case.value}, case.run)
    return with_it, learn(case.beside, case.run)


SAMPLE = ("max_steps", "gradient_accumulation_steps", "lr_scheduler_type", "optim", "bf16")
"""Of the keys of the Trainer, whose effect is tested in full with [sft]."""


@pytest.mark.parametrize("key", [*GRPO, *SAMPLE])
def test_a_key_changes_what_is_learned(key: str, learn: Learn) -> None:
    with_it, without = compared(learn, key, (GRPO | TRAINER)[key])
    assert not with_it.is_like(without)


@pytest.mark.parametrize("key", GRPO_LOGS)
def test_a_key_changes_what_is_logged(key: str, learn: Learn) -> None:
    logged, usual = (
        [logs["entropy_coef"] for logs in run.logs if "entropy_coef" in logs]
        for run in compared(learn, key, GRPO_LOGS[key])
    )
    assert logged != usual


@pytest.mark.parametrize("key", FILES)
def test_a_key_changes_which_files_are_written(key: str, learn: Learn) -> None:
    with_it, without = compared(learn, key, FILES[key])
    assert with_it.files != without.files


def test_a_key_changes_the_shape_of_batches_and_nothing_else(learn: Learn) -> None:
    with_it, without = compared(learn, "pad_to_multiple_of", SHAPES["pad_to_multiple_of"])
    assert with_it.width % 64 == 0 != without.width % 64
    for logs, usual in zip(with_it.logs[:2], without.logs, strict=False):
        assert logs["grad_norm"] == pytest.approx(usual["grad_norm"], rel=1e-4)


def test_the_same_keys_learn_the_same(learn: Learn) -> None:
    """Else every comparison above would pass."""
    assert learn({}, "").is_like(learn({"weight_decay": 0.0}, ""))


REACHING = {key: KeyCase(value) for key, value in ARRIVES.items()} | GRPO_ARRIVES | TRAINER


@pytest.mark.parametrize("key", REACHING)
def test_a_key_reaches_the_trainer(key: str, tmp_path: Path) -> None:
    case = REACHING[key]
    found = getattr(grpo_config(recipe(case.beside | {key: case.value}), tmp_path), key)
    assert found != getattr(grpo_config(recipe(case.beside), tmp_path), key)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("key", ENDS)
def test_what_cannot_be_had_here_ends_in_the_librarys_own_reason(
    key: str, tiny_folder: Path, tmp_path: Path
) -> None:
    value, said = ENDS[key]
    asked = recipe(BASE | {key: value})
    with pytest.raises(UserError, match=rf"TRL refuses .*{said}.*; fix: ") as caught:
        train_grpo(
            asked, *load_model(tiny_folder), (), Rules(), Sampling(max_tokens=6), Place(tmp_path)
        )
    assert "\n" not in str(caught.value)
