"""Recipes are read strictly: a typo is an error that names the nearest key."""

import tomllib
from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.registry import load, names
from medgym.train.recipe import load_recipe, parse_recipe


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
        (("lora", "lora_alfa"), "lora.lora_alpha"),
        (("grpo", "num_generation"), "grpo.num_generations"),
    ],
)
def test_an_unknown_key_names_the_nearest(data: dict, place: tuple[str, ...], near: str) -> None:
    table = data
    for part in place[:-1]:
        table = table[part]
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


def test_a_model_is_built_or_named(data: dict) -> None:
    data["model"] = {"build": "tiny", "path": "some/model"}
    with pytest.raises(UserError, match="either build or path"):
        parse_recipe(data, "my.toml")


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
