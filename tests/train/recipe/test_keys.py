"""Every key of the libraries' configuration classes is in one class, and docs/keys.md says which.

`python -m tests.train.recipe.test_keys` writes that page again.
"""

import dataclasses
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from medgym.cli import main
from medgym.errors import UserError
from medgym.registry import load
from medgym.train.dpo.settings import SETTINGS as DPO
from medgym.train.grpo.config import grpo_config
from medgym.train.grpo.credit import credit_branches
from medgym.train.grpo.settings import BRANCHES
from medgym.train.grpo.settings import SETTINGS as GRPO
from medgym.train.kto.settings import SETTINGS as KTO
from medgym.train.models.settings import SETTINGS as LORA
from medgym.train.recipe.schema import parse_recipe
from medgym.train.recipe.settings import Settings, toml
from medgym.train.sft.config import sft_config
from medgym.train.sft.settings import SETTINGS as SFT
from tests.train.key_cases import effects

PAGE = Path(__file__).parents[3] / "docs" / "keys.md"
TABLES = {"grpo": GRPO, "dpo": DPO, "kto": KTO, "sft": SFT, "lora": LORA}

HEAD = """\
# Keys of the libraries

`[grpo]`, `[dpo]`, `[kto]`, `[sft]` and `[lora]` (with `[sft.lora]`) of a [recipe](recipes.md) take
the keys of `trl.GRPOConfig`, `trl.DPOConfig`, `trl.KTOConfig`, `trl.SFTConfig` and
`peft.LoraConfig`. Each key of these classes is one of three:

- **passed** on as it is. The tests run every such key with and without it and look for its effect;
  the last column says where they found it.
- **set** by medgym, from what the last column says. Where that is a key of the recipe, set it
  there.
- **refused**, for the reason in the last column.

Keys that are **medgym's own** stand after those of the class, which is not given them.

A key that would do nothing without another one is refused too, until that one is set. Where a key
is "not to be had here", the tests' machine or model lacks what it needs, and the run ends with the
library's own reason, which has the words that are quoted. This page is
made by the tests, for the versions of the libraries in `constraints.txt`: a new version with a new
key fails them until the key is in one of the three.
"""


def fields(settings: Settings) -> list[str]:
    package, _, name = settings.config.rpartition(".")
    return [each.name for each in dataclasses.fields(getattr(import_module(package), name))]


def page() -> str:
    parts = [HEAD]
    for name, settings in TABLES.items():
        parts += [f"\n## `[{name}]`: {settings.config}\n\n", "| key | is | |\n|---|---|---|\n"]
        found = effects(name)
        for key in sorted(fields(settings)):
            if key in settings.passed:
                kind, said = "passed", found[key]
                if key in settings.only:
                    values = ", ".join(map(toml, settings.only[key].values))
                    said += f"; only as {values}: {settings.only[key].reason}"
                if key in settings.needs:
                    said += f"; needs {settings.needs[key].what}"
            elif key in settings.ours:
                kind, said = "set", f"from {settings.ours[key]}"
            else:
                kind, said = "refused", settings.refused[key]
            parts.append(f"| `{key}` | {kind} | {said} |\n")
        for key, own in sorted(settings.own.items()):
            needs = f"; needs {settings.needs[key].what}" if key in settings.needs else ""
            parts.append(f"| `{key}` | medgym's own | {own.what}{needs} |\n")
    return "".join(parts)


@pytest.mark.parametrize("name", TABLES)
def test_every_key_is_in_one_class(name: str) -> None:
    settings = TABLES[name]
    classes = [*settings.passed, *settings.ours, *settings.refused]
    assert sorted(classes) == sorted(fields(settings))


@pytest.mark.parametrize("name", TABLES)
def test_every_key_that_is_passed_on_is_tried(name: str) -> None:
    assert effects(name).keys() == TABLES[name].passed


def test_the_page_says_so() -> None:
    assert PAGE.read_text("utf-8") == page()


def parse(**tables: Any) -> None:
    cases = {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}
    parse_recipe({"name": "small", "model": {"path": "m"}, "cases": cases} | tables, "my.toml")


@pytest.mark.parametrize("name", TABLES)
def test_a_key_that_is_not_passed_on_ends_as_the_page_says(name: str) -> None:
    settings = TABLES[name]
    for key in settings.ours.keys() | settings.refused.keys():
        with pytest.raises(UserError) as caught:
            parse(**{name: {key: 1}})
        said = str(caught.value)
        assert said.startswith(f"my.toml: {name}.{key} is ")
        assert settings.ours.get(key, settings.refused.get(key, "")) in said
        assert said.count("; fix: ") == 1
        assert "\n" not in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[grpo]\ntop_k = 5", r"grpo\.top_k is refused: samples would be of another distribution"),
        ("[grpo]\nshuffle_dataset = true", r"grpo\.shuffle_dataset is set from \[cases\] order"),
        ('[lora]\ninit_lora_weights = "pissa"', r'lora\.init_lora_weights = "pissa" is refused: '),
        ("[rollout]\ntop_p = 0.9", r"rollout\.top_p is refused: "),
    ],
)
def test_the_command_says_so_in_one_line_before_it_makes_anything(
    line: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    table = line.partition("\n")[0]
    text = load("recipes", "tiny").read_text("utf-8")
    recipe = tmp_path / "my.toml"
    recipe.write_text(text.replace(f"{table}\n", f"{line}\n"))
    assert main(["train", "my.toml", "--max-steps", "3", "--out", "run"]) == 2
    assert re.fullmatch(rf".*my\.toml: {said}.*; fix: .*\n", capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]


def test_a_key_of_a_newer_library_is_refused() -> None:
    older = dataclasses.replace(GRPO, passed=GRPO.passed - {"epsilon"})
    with pytest.raises(UserError, match=r"grpo\.epsilon is a key .* does not know yet; fix: "):
        older.check({"epsilon": 0.2}, "my.toml")


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"rollout": {"top_p": 0.9}}, r"rollout\.top_p is refused: samples would be of another"),
        ({"rollout": {"min_p": 0.1}}, r"rollout\.min_p is refused: samples would be of another"),
        ({"grpo": {"sapo_temperature_pos": 2.0}}, 'nothing without grpo.loss_type "sapo"'),
        ({"grpo": {"ref_model_sync_steps": 2}}, "nothing without grpo.sync_ref_model = true"),
        ({"grpo": {"use_bias_correction_kl": False}}, "nothing without a grpo.beta above 0"),
        ({"grpo": {"loss_type": "cispo", "epsilon": 0.1}}, 'nothing without grpo.loss_type "grpo"'),
        ({"grpo": {"vllm_importance_sampling_mode": "token_mask"}}, r"without \[rollout\] policy"),
        ({"marl": {"grpo": {"triage": {"delta": 2.0, "loss_type": "sapo"}}}}, "marl.grpo.triage"),
        ({"lora": {"layers_to_transform": [0]}}, "nothing without target_modules as a list"),
    ],
)
def test_a_key_that_would_do_nothing_is_refused(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        parse(**tables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"credit": "token"}, r'grpo\.credit = "token" is refused; fix: write "episode" or "turn"'),
        ({"credit": "turn", "credit_branches": 0}, r"credit_branches = 0 is refused; fix: write a"),
        ({"credit": "turn", "credit_branches": True}, "credit_branches = true is refused"),
        ({"credit_branches": 2}, 'credit_branches does nothing without grpo.credit = "turn"'),
        ({"credits": "turn"}, "did you mean 'grpo.credit'"),
        (
            {"credit": "turn", "multi_objective_aggregation": "normalize_then_sum"},
            "credit does nothing without grpo.multi_objective_aggregation",
        ),
    ],
)
def test_values_of_own_keys_are_checked(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        parse(grpo=keys)
    assert "\n" not in str(caught.value)


def test_own_keys_are_not_given_to_the_library(tmp_path: Path) -> None:
    data = {"name": "small", "model": {"path": "m", "device": "cpu"}}
    data |= {"cases": {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}}
    data |= {"grpo": {"max_steps": 1, "credit": "turn", "credit_branches": 2}}
    recipe = parse_recipe(data, "my.toml")
    assert grpo_config(recipe, tmp_path).max_steps == 1
    assert credit_branches(recipe.grpo) == 2
    assert credit_branches({"credit": "turn"}) == BRANCHES
    assert credit_branches({"credit": "episode"}) == credit_branches({}) == 0


def test_a_key_counts_whose_need_stands_elsewhere() -> None:
    parse(grpo={"loss_type": "sapo"}, marl={"grpo": {"triage": {"sapo_temperature_pos": 2.0}}})
    parse(
        grpo={"vllm_importance_sampling_mode": "token_truncate"},
        rollout={"policy": "vllm:{base}"},
        lora={"r": 2},
    )


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora", "corda", "eva", False])
@pytest.mark.parametrize("table", ["lora", "sft.lora"])
def test_an_adapter_begins_as_nothing_over_the_base(start: object, table: str) -> None:
    lora = {"init_lora_weights": start}
    tables = {"lora": lora} if table == "lora" else {"sft": {"lora": lora}}
    with pytest.raises(UserError, match=rf"{table}\.init_lora_weights = .* is refused: .*base"):
        parse(**tables)
    parse(lora={"init_lora_weights": "gaussian", "bias": "none"})


def test_a_launcher_that_shards_the_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match=r"ACCELERATE_USE_FSDP is set, but .*fix: start with torch"):
        sft_config({}, 0, tmp_path)


def test_the_trainer_learns_where_the_model_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    data = {"name": "small", "model": {"path": "m", "device": "cpu"}, "grpo": {"max_steps": 1}}
    data |= {"cases": {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}}
    config = grpo_config(parse_recipe(data, "my.toml"), tmp_path)
    assert (config.use_cpu, config.bf16, config.gradient_checkpointing) == (True, False, False)
    cold = sft_config({}, 0, tmp_path, device="cpu")
    assert (cold.use_cpu, cold.bf16, cold.gradient_checkpointing) == (True, False, False)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
