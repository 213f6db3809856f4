"""Keys of `[kto]`: its own change what is learned, the Trainer's reach it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from medgym.errors import UserError
from medgym.train.kto.config import check_kto, kto_config
from medgym.train.kto.settings import SETTINGS
from medgym.train.kto.stage import KtoStage
from medgym.train.recipe.schema import parse_recipe
from medgym.train.run.opened import Run
from tests.train.key_cases import ARRIVES, KTO, TRAINER

CASES = {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}


def recipe(lora: dict[str, Any] | None = None, **kto: Any) -> Any:
    data = {"name": "small", "model": {"path": "m"}, "cases": CASES, "kto": {"max_steps": 7} | kto}
    return parse_recipe(data | ({"lora": {"r": 2}} if lora is None else lora), "my.toml")


REACHING = ARRIVES | {"save_steps": 7, "save_total_limit": 7}


@pytest.mark.parametrize("key", [*TRAINER, *REACHING])
def test_a_key_of_the_trainer_reaches_it(key: str, tmp_path: Any) -> None:
    case = TRAINER.get(key)
    value, beside = (REACHING[key], {}) if case is None else (case.value, case.beside)
    keys = {"per_device_train_batch_size": 4} | beside
    SETTINGS.check(keys | {key: value}, "my.toml")
    found = getattr(kto_config(recipe(**keys | {key: value}), tmp_path), key)
    assert found != getattr(kto_config(recipe(**keys), tmp_path), key)


@pytest.mark.parametrize("key", KTO)
def test_a_key_of_kto_changes_what_is_learned(key: str, make_kto_trainer: Any) -> None:
    def learned(**keys: Any) -> list[torch.Tensor]:
        trainer = make_kto_trainer(**keys)
        trainer.train()
        return [w.detach().clone() for w in trainer.model.parameters() if w.requires_grad]

    case = KTO[key]
    plain, other = learned(**case.beside), learned(**case.beside, **{key: case.value})
    assert not all(map(torch.equal, plain, other))
    if key == "beta":
        assert all(map(torch.equal, plain, learned(**case.beside))), "else any two runs differ"


def test_several_processes_share_the_batch_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medgym.train.kto.config.count", lambda: 2)
    asked = recipe(per_device_train_batch_size=8)
    assert kto_config(asked, tmp_path).per_device_train_batch_size == 4
    with pytest.raises(UserError, match="has 1 episode in a process"):
        kto_config(recipe(per_device_train_batch_size=2), tmp_path)
    with pytest.raises(UserError, match=r"2 processes cannot share the batches of \[kto\]"):
        check_kto(recipe(per_device_train_batch_size=3))


def test_it_does_not_learn_from_the_first_of_several_rounds_alone(tmp_path: Path) -> None:
    data = recipe().model_dump(exclude_unset=True) | {"dpo": {"max_steps": 1, "rounds": 2}}
    run = Run(parse_recipe(data, "my.toml"), tmp_path)
    with pytest.raises(UserError, match=r"only from the first of \[dpo\] rounds"):
        KtoStage().check(run)


def test_what_kto_cannot_do_is_said_in_a_line() -> None:
    for asked, said in (
        (recipe(per_device_train_batch_size=1), "compares an episode with others of its batch"),
        (recipe(lora={}), "its reference is the model without the adapter; fix: add"),
    ):
        with pytest.raises(UserError) as caught:
            check_kto(asked)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    check_kto(recipe(per_device_train_batch_size=1, loss_type="apo_zero_unpaired"))
