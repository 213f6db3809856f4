"""Every key of [dpo] that is passed on has its effect: other weights are learned, or it arrives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medgym.errors import UserError
from medgym.train.dpo.config import check_dpo, dpo_config
from medgym.train.models.checkpoint import load_model
from medgym.train.models.lora import lora_config
from medgym.train.recipe.schema import Recipe, parse_recipe
from tests.train.key_cases import ARRIVES, DPO, DPO_ARRIVES, ENDS, TRAINER
from tests.train.key_cases import Case as KeyCase

LORA = {"r": 2, "target_modules": r".*language_model.*(q|v)_proj"}


def recipe(dpo: dict[str, Any], **tables: Any) -> Recipe:
    cases = {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}
    data = {"name": "small", "model": {"path": "base"}, "cases": cases, "dpo": dpo, **tables}
    return parse_recipe(data, "my.toml")


Weights = dict[str, torch.Tensor]
Learn = Callable[[dict[str, Any], str], Weights]


@pytest.fixture
def learn(tiny_folder: Path, build: Any, learned: dict[Any, Weights]) -> Learn:
    """Learns by some keys of [dpo]: an adapter; with dropout; or the `whole` model."""

    def run(dpo: dict[str, Any], kind: str = "") -> Weights:
        key = (repr(sorted(dpo.items())), kind)
        if key not in learned:
            parse = recipe({"max_steps": 2} | dpo)
            model, processor = load_model(tiny_folder)
            lora = LORA | ({"lora_dropout": 0.5} if kind == "dropout" else {})
            asked = {"max_steps": 2, "per_device_train_batch_size": 1} | parse.dpo
            adapter = None if kind == "whole" else lora_config(model, lora, ("language",))
            if isinstance(asked.get("loss_type"), str):
                asked["loss_type"] = [asked["loss_type"]]
            trainer = build(loaded=(model, processor), peft_config=adapter, **asked)
            trainer.train()
            named = trainer.model.named_parameters()
            learned[key] = {name: weight.detach() for name, weight in named if weight.requires_grad}
        return learned[key]

    return run


@pytest.fixture(scope="module")
def learned() -> dict[Any, Weights]:
    return {}


def alike(one: Weights, other: Weights) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.parametrize("key", DPO)
def test_a_key_of_dpo_changes_what_is_learned(key: str, learn: Learn) -> None:
    case = DPO[key]
    with_it = learn(case.beside | case.too | {key: case.value}, case.run)
    assert not alike(with_it, learn(case.beside, case.run))


def test_the_same_keys_learn_the_same(learn: Learn) -> None:
    """Else every comparison above would pass."""
    assert alike(learn({}, ""), learn({"label_smoothing": 0.0, "loss_type": "robust"}, ""))


REACHING = {key: KeyCase(value) for key, value in ARRIVES.items()} | DPO_ARRIVES | TRAINER


@pytest.mark.parametrize("key", REACHING)
def test_a_key_reaches_the_trainer(key: str, tmp_path: Path) -> None:
    case = REACHING[key]
    found = dpo_config(recipe(case.beside | {key: case.value}), tmp_path)
    assert getattr(found, key) != getattr(dpo_config(recipe(case.beside), tmp_path), key)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("key", ENDS)
def test_what_cannot_be_had_here_ends_in_the_librarys_own_reason(
    key: str, tmp_path: Path, build: Any
) -> None:
    value, said = ENDS[key]

    def begin() -> None:
        config = dpo_config(recipe({key: value}), tmp_path)
        build(**{key: getattr(config, key)})

    with pytest.raises((UserError, ValueError, RuntimeError), match=said):
        begin()


@pytest.mark.parametrize(
    ("dpo", "tables", "said"),
    [
        (
            {"loss_type": "sigmod"},
            {},
            r"unknown loss in my\.toml: 'sigmod'; did you mean 'sigmoid'",
        ),
        ({"loss_type": []}, {}, r"dpo\.loss_type: \[\]; fix: "),
        ({"loss_weights": [1.0, 2.0]}, {}, "not a number for each of 1 losses; fix: "),
        ({"beta": 0.0}, {}, r"dpo\.beta: 0, .*; fix: "),
        ({"discopop_tau": 0.1}, {}, 'nothing without dpo.loss_type "discopop"; fix: '),
        ({"ref_model_sync_steps": 2}, {}, r"without dpo\.sync_ref_model = true; fix: "),
        ({"sync_ref_model": True}, {"lora": {"r": 2}}, r"does not go with \[lora\].*; fix: "),
        (
            {"ld_alpha": 0.5, "terms": {"anchor": 1.0}},
            {},
            r"dpo\.ld_alpha changes only TRL.*; fix: ",
        ),
        ({"ld_alpha": 1.5}, {}, r"dpo\.ld_alpha: 1\.5; fix: "),
        ({"loss_type": "exo_pair"}, {}, r"dpo\.label_smoothing: 0\.0; fix: "),
        ({"loss_type": "aot", "use_weighting": True}, {}, r"dpo\.use_weighting weights .*; fix: "),
        ({"ref_model": "base"}, {}, r"dpo\.ref_model is refused: the reference is the policy as"),
        ({"terms": {"nnl": 1.0}}, {}, r"'dpo\.terms\.nnl'; did you mean 'dpo\.terms\.nll'"),
        ({"terms": {"dpo": 0.0}}, {}, r"every weight of \[dpo\.terms\] is 0; fix: "),
        ({"terms": {"nll": -1.0}}, {}, r"dpo\.terms\.nll: .*greater than or equal to 0"),
        ({"terms": 1}, {}, r"dpo\.terms is no table; fix: "),
        ({"images": {"how": "crop"}}, {}, r"\[dpo\.images\] does nothing without the term image"),
        ({"images": {"how": "zoom"}, "terms": {"image": 1.0}}, {}, r"dpo\.images\.how: Input"),
        ({"rounds": 0}, {}, r"dpo\.rounds: Input should be greater"),
        ({"max_length": 512}, {}, r"dpo\.max_length is set from what the sampler saw"),
    ],
)
def test_what_is_wrong_or_would_do_nothing_is_refused_in_one_line(
    dpo: dict[str, Any], tables: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        recipe(dpo, **tables)
    assert "\n" not in str(caught.value)


def test_what_trl_would_refuse_later_is_refused_before() -> None:
    with pytest.raises(UserError, match=r"\[dpo\] asks for an optimiser that cannot be had"):
        check_dpo(recipe({"max_steps": 1, "lr_scheduler_kwargs": {"cycles": 2}}))
