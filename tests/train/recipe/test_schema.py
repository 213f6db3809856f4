"""Recipes are read strictly: a typo is an error that names the nearest key."""

import re
import tomllib
from pathlib import Path

import pytest
import torch

from medgym.case_spec import parse_spec
from medgym.cases import open_cases
from medgym.errors import UserError
from medgym.registry import load, names
from medgym.sources.published import PublishedSource
from medgym.train.data.preferences.specs import load_builder, read_makes
from medgym.train.dpo.config import dpo_config
from medgym.train.grpo.config import grpo_config
from medgym.train.recipe.schema import Recipe, load_recipe, parse_recipe
from medgym.train.run.opened import Run
from medgym.train.run.stages import START, check
from medgym.train.sft.config import sft_config


@pytest.fixture(autouse=True)
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy of a published data set is on this machine."""
    monkeypatch.setenv("MEDGYM_DATA", str(tmp_path))


def published_sets(recipe: Recipe) -> set[str]:
    """The published data sets that a recipe names."""
    specs = [*(part.spec for part in recipe.cases.parts), recipe.cases.test]
    specs += [recipe.demonstrations.cases] if recipe.demonstrations is not None else []
    names = {parse_spec(spec).source for spec in specs}
    return {name for name in names if issubclass(load("sources", name), PublishedSource)}


@pytest.fixture
def data() -> dict:
    return tomllib.loads(load("recipes", "tiny").read_text("utf-8"))


@pytest.mark.parametrize("name", names("recipes"))
def test_every_shipped_recipe_loads_under_its_own_name(name: str) -> None:
    recipe, text = load_recipe(name)
    assert recipe.name == name
    assert text.startswith("#"), "the head says what the recipe does"


def test_a_change_replaces_the_files_value() -> None:
    assert load_recipe("tiny", seed=7)[0].seed == 7
    assert load_recipe("tiny", seed=None)[0].seed == load_recipe("tiny")[0].seed


@pytest.mark.parametrize(
    ("place", "near"),
    [
        (("sede",), "seed"),
        (("cases", "trian"), "cases.train"),
        (("rollout", "max_turn"), "rollout.max_turns"),
        (("sft", "learning_rat"), "sft.learning_rate"),
        (("sft", "lora", "lora_alfa"), "sft.lora.lora_alpha"),
        (("demonstrations", "sample"), "demonstrations.samples"),
        (("curriculum", "skip_flats"), "curriculum.skip_flat"),
        (("lora", "lora_alfa"), "lora.lora_alpha"),
        (("grpo", "num_generation"), "grpo.num_generations"),
    ],
)
def test_an_unknown_key_names_the_nearest(data: dict, place: tuple[str, ...], near: str) -> None:
    table = data
    for part in place[:-1]:
        table = table.setdefault(part, {})
    table[place[-1]] = 1
    with pytest.raises(UserError) as error:
        parse_recipe(data, "my.toml")
    assert near in str(error.value)
    assert "my.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_the_run_sets_itself_is_refused(data: dict) -> None:
    data["grpo"]["output_dir"] = "elsewhere"
    with pytest.raises(UserError, match="the run's folder"):
        parse_recipe(data, "my.toml")


def test_what_would_cut_or_change_a_sample_is_refused(data: dict) -> None:
    data["sft"]["packing"] = True
    with pytest.raises(UserError, match=r"sft\.packing is set from what the sampler saw and wrote"):
        parse_recipe(data, "my.toml")


def test_demonstrations_are_a_policys_or_a_runs(data: dict) -> None:
    for given in ({}, {"policy": "scripted:oracle", "run": "runs/teacher"}):
        data["demonstrations"] = {"cases": "phantom:train[:4]"} | given
        with pytest.raises(UserError, match="needs either policy or run"):
            parse_recipe(data, "my.toml")


@pytest.mark.parametrize("name", names("recipes"))
def test_every_shipped_recipe_is_one_that_the_libraries_take(name: str, tmp_path: Path) -> None:
    recipe, text = load_recipe(name)
    head = text.partition("\n\n")[0]
    assert "Follows" in head
    assert "Departs" in head
    sft = {key: value for key, value in recipe.sft.items() if key != "lora"}
    sft_config(sft, 0, tmp_path)
    grpo_config(recipe, tmp_path)
    if recipe.dpo:
        dpo_config(recipe, tmp_path)
        assert [load_builder(spec) for spec in read_makes(recipe.pairs.make)]
    run = Run(recipe, tmp_path)
    specs = [*(part.spec for part in recipe.cases.parts), recipe.cases.test]
    specs += [recipe.demonstrations.cases] if recipe.demonstrations is not None else []
    if published := published_sets(recipe):
        (name,) = published
        assert {parse_spec(spec).split for spec in specs} <= set(load("sources", name).splits)
        with pytest.raises(
            UserError, match=f"no copy of {name} .* fix: run medgym cases get {name} "
        ):
            _ = run.train
    else:
        run.rules(run.train)
        assert all(case.answer for spec in specs for case in open_cases(spec)[:20])
    if recipe.rollout.policy is not None:
        assert recipe.rollout.policy.startswith("vllm:{base}?")
        assert f"max_model_len={recipe.rollout.max_context}" in recipe.rollout.policy
        # TRL's default would drop whole sequences where engine and trainer round apart.
        assert recipe.grpo["vllm_importance_sampling_mode"] == "token_truncate"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", names("recipes"))
def test_a_recipe_that_needs_a_gpu_says_so_in_a_line(name: str) -> None:
    recipe, text = load_recipe(name)
    run = Run(recipe, Path())
    if not recipe.model.gpu:
        check(run, START)
        return
    assert "# Needs: " in text
    for published in published_sets(recipe):
        assert f"medgym cases get {published}" in text
    with pytest.raises(UserError, match=f"{re.escape(name)} needs a GPU and there is none; fix: "):
        check(run)


def test_a_source_that_is_not_installed_is_named(data: dict) -> None:
    data["cases"]["train"] = "mimic-vqa:train"
    with pytest.raises(UserError, match="unknown source 'mimic-vqa'"):
        check(Run(parse_recipe(data, "my.toml"), Path()))


def test_a_model_is_built_or_named(data: dict) -> None:
    data["model"] = {"build": "tiny", "path": "some/model"}
    with pytest.raises(UserError, match="either build or path"):
        parse_recipe(data, "my.toml")


def test_a_number_is_a_number(data: dict) -> None:
    for table in ({"grpo": {"learning_rate": "x"}}, {"sft": {"max_steps": True}}):
        with pytest.raises(
            UserError, match=r"\.(learning_rate|max_steps): .* is no (whole )?number"
        ):
            parse_recipe(data | table, "r.toml")
    # Of fields without a default too.
    for table, key in (
        ({"epsilon_high": "0.28"}, "epsilon_high"),
        ({"max_steps": 2.5}, "max_steps"),
    ):
        with pytest.raises(UserError, match=rf"grpo\.{key}: .* is no (whole )?number; fix"):
            parse_recipe(data | {"grpo": table}, "r.toml")
    with pytest.raises(UserError, match=r"lora\.r: 0; fix: a rank of 1 or more"):
        parse_recipe(data | {"lora": {"r": 0}}, "r.toml")
    parse_recipe(data | {"grpo": {"learning_rate": 1, "max_grad_norm": 0.5}}, "r.toml")


def test_what_trl_refuses_is_said_before_anything_is_trained(data: dict) -> None:
    wrong = data | {"grpo": {"num_generations": 3, "per_device_train_batch_size": 8}}
    with pytest.raises(UserError, match=r"TRL refuses \[grpo\].*divisible"):
        check(Run(parse_recipe(wrong, "r.toml"), Path()))


def test_a_wrong_value_names_its_place(data: dict) -> None:
    data["rollout"]["max_turns"] = 0
    with pytest.raises(UserError, match=r"rollout\.max_turns"):
        parse_recipe(data, "my.toml")


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such recipe"):
        load_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        load_recipe("tinny")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(UserError, match="is not TOML"):
        load_recipe(str(broken))
