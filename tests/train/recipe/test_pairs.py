"""`[pairs]`: what it says, and what is wrong with it in one line."""

from typing import Any

import pytest

from medgym.errors import UserError
from medgym.train.recipe.schema import parse_recipe
from medgym.train.recipe.tables import check_tables

CASES = {"train": "phantom:train[:4]", "test": "phantom:test[:4]"}


def recipe(pairs: dict[str, Any], **tables: Any) -> Any:
    given = {"name": "a", "model": {"path": "b"}, "cases": CASES, "pairs": pairs, **tables}
    return parse_recipe(given, "a.toml")


def test_builders_are_a_list_or_a_table_with_weights() -> None:
    assert recipe({"make": ["outcome", "looking"]}).pairs.make == ("outcome", "looking")
    assert recipe({"make": {"outcome": 3, "looking": 1}}).pairs.make["outcome"] == 3
    assert recipe({}).pairs.make == ("outcome",)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"folder": "a", "make": ["outcome"]}, "make has no effect beside folder"),
        ({"folder": "a", "run": "b"}, "run has no effect beside folder"),
        ({"run": "b", "samples": 4}, "samples has no effect beside run"),
        ({"make": []}, "make names no builder"),
        ({"mostt": 3}, "did you mean 'pairs.most'"),
        ({"weight": "scores"}, "weight"),
        ({"make": {"outcome": 0}}, "make"),
    ],
)
def test_what_is_wrong_is_one_line(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        recipe(table)
    assert "\n" not in str(error.value)


def test_without_dpo_it_has_no_effect() -> None:
    shown = {"policy": "scripted:oracle", "cases": "phantom:train[:4]"}
    made = recipe({"most": 2}, demonstrations=shown, sft={"lora": {"r": 2}})
    with pytest.raises(UserError, match=r"\[pairs\] has no effect without \[dpo\]"):
        check_tables(made)
