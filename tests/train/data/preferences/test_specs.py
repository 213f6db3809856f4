"""The specs of builders: names, options, weights, and what is wrong with them."""

import pytest

from medgym.errors import UserError
from medgym.train.data.preferences.specs import load_builder, read_makes


def test_a_comma_begins_an_option_or_the_next_builder() -> None:
    assert read_makes(["outcome,margin=0.5,looking", "format"]) == {
        "outcome,margin=0.5": 1.0,
        "looking": 1.0,
        "format": 1.0,
    }
    assert read_makes(["outcome,weight=3,alike=false,looking"]) == {
        "outcome,alike=false": 3.0,
        "looking": 1.0,
    }
    assert read_makes({"outcome": 2.0, "looking": 0.5}) == {"outcome": 2.0, "looking": 0.5}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["outcome,looking,outcome"], "'outcome' is given twice"),
        (["outcome,weight=0"], "has the weight 0"),
        (["outcome,weight=many"], "is not a number"),
        (["margin=0.5"], "names no builder of pairs"),
        (["outcome,,looking"], "names no builder of pairs"),
        ([], "no builder of pairs is named"),
        ({"outcome": float("nan")}, "has the weight nan"),
    ],
)
def test_what_is_wrong_with_several_is_one_line(given: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_makes(given)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("outcom", "did you mean 'outcome'"),
        ("outcome,margn=1", "did you mean 'margin'"),
        ("outcome,margin=much", "is not a number"),
        ("outcome,alike=yes", "is not true or false"),
        ("human", "needs file; fix: write human,file=FILE"),
        ("over-reliance", "needs without"),
    ],
)
def test_what_is_wrong_with_one_is_one_line(spec: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_builder(spec)
