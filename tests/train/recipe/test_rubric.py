"""Rubrics in recipes: a preset or terms of presets, and typos that name the nearest."""

import tomllib
from typing import Any

import pytest

from medgym.errors import UserError
from medgym.registry import load
from medgym.train.recipe.rubric import RubricTable, rubric_of
from medgym.train.recipe.schema import parse_recipe


def of(text: str) -> Any:
    """The rubric that a recipe with this `[rubric]` asks for."""
    data = tomllib.loads(load("recipes", "tiny").read_text("utf-8"))
    data.pop("rubric", None)
    recipe = parse_recipe(data | tomllib.loads(text), "my.toml")
    return rubric_of(recipe.rubric)


def test_a_preset_by_name() -> None:
    assert of("").name == "outcome"
    assert of('[rubric]\nname = "vista"').name == "vista"
    assert of('[rubric]\nname = "grounded,weight=0.2"').term("looking").weight == 0.2


def test_terms_of_presets() -> None:
    made = of(
        """
        [[rubric.terms]]
        term = "outcome.answer"
        [[rubric.terms]]
        term = "ophiuchus.tool"
        weight = 0.5
        schedule = [[0.0, 1.0], [0.5, 0]]
        [[rubric.terms]]
        term = "grounded,measure=coverage,weight=0.3.looking"
        name = "seen"
        """
    )
    assert [(t.name, t.weight) for t in made.terms] == [("answer", 1), ("tool", 0.5), ("seen", 0.3)]
    assert [t.weight for t in made.at(0.25).terms] == [1, 0.25, 0.3]
    assert [t.weight for t in made.at(1.0).terms] == [1, 0, 0.3]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('name = "visto"', "unknown rubric 'visto'; did you mean 'vista'"),
        ('nmae = "vista"', r"rubric\.nmae.*did you mean 'rubric\.name'"),
        ('[[rubric.terms]]\nterm = "ophiuchos.tool"', "did you mean 'ophiuchus'"),
        ('[[rubric.terms]]\nterm = "ophiuchus.tol"', "did you mean 'tool'"),
        ('[[rubric.terms]]\nterm = "tool"', "write PRESET.TERM"),
        ('[[rubric.terms]]\nterm = "outcome.answer"\nwieght = 1', r"terms\.0\.weight'"),
        ('[[rubric.terms]]\nterm = "outcome.answer"\nschedule = [[0, 1], [0, 2]]', "no schedule"),
        ('[[rubric.terms]]\nterm = "outcome.answer"\nschedule = [[0]]', r"terms\.0\.schedule"),
        ('[[rubric.terms]]\nterm = "outcome.answer"\nweight = nan', "has the weight nan"),
        (
            '[[rubric.terms]]\nterm = "outcome.answer"\n[[rubric.terms]]\nterm = "vista.answer"',
            "two terms 'answer'",
        ),
        ('name = "vista"\n[[rubric.terms]]\nterm = "outcome.answer"', "keep one of them"),
    ],
)
def test_what_is_wrong_is_named_in_a_line(text: str, error: str) -> None:
    with pytest.raises(UserError, match=error) as caught:
        of(f"[rubric]\n{text}")
    assert "\n" not in str(caught.value)


def test_a_table_may_be_made_in_python() -> None:
    assert rubric_of(RubricTable()).name == "outcome"
