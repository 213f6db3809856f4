"""A consultation's recipe: the shipped roles, roles of other names, and what is refused."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from medgym.consultation.recipe import ConsultationRecipe, consultation_of, recipe_of
from medgym.consultation.role import Role, load_role, role_of
from medgym.errors import UserError

TWO = {"specialties": ["radiologist", "pathologist"]}
READER = {"second-reader": {"hears": ["specialist"], "prompt": "You are a second reader."}}


def read(roles: Mapping[str, object], **table: object) -> ConsultationRecipe:
    return recipe_of({"consultation": TWO | table, "roles": roles}, "test")


def names(recipe: ConsultationRecipe) -> list[list[str]]:
    return [[role.name for role in stage] for stage in recipe.stages]


def test_the_shipped_roles_are_the_default() -> None:
    recipe = read({})
    assert names(recipe) == [["triage"], ["specialist"], ["attending"]]
    assert recipe.chooser is recipe.role("triage")
    assert recipe.decider is recipe.role("attending")
    assert [recipe.count(role) for role in recipe.roles] == [1, 3, 1]


def test_without_triage_the_role_that_chooses_is_left_out() -> None:
    recipe = read({}, triage=False)
    assert names(recipe) == [["specialist"], ["attending"]]
    assert recipe.chooser is None
    assert recipe == read({"triage": {}}, triage=False)


def test_a_role_of_another_name_plays_after_those_that_it_hears() -> None:
    attending = {"attending": {"hears": ["specialist", "second-reader"]}}
    recipe = read(READER | attending)
    assert names(recipe) == [["triage"], ["specialist"], ["second-reader"], ["attending"]]
    assert [role.name for role in recipe.heard(recipe.decider)] == ["specialist", "second-reader"]
    beside = read({"second-reader": {"opinions": 2}} | attending)
    assert names(beside) == [["second-reader", "triage"], ["specialist"], ["attending"]]
    assert beside.count(beside.role("second-reader")) == 2


def test_another_role_may_decide_and_the_shipped_ones_need_not_take_part() -> None:
    recipe = read({"reader": {"opinions": 3}, "chair": {"hears": ["reader"]}}, decides="chair")
    assert names(recipe) == [["reader"], ["chair"]]
    assert recipe.chooser is None


@pytest.mark.parametrize(
    "recipe",
    [
        read({}),
        read({}, triage=False, most=2, reasons=False),
        read({"reader": {"opinions": 3}, "chair": {"hears": ["reader"]}}, decides="chair"),
        read(READER | {"attending": {"hears": ["specialist", "second-reader"]}}),
        read({"triage": {"temperature": 0.5}, "specialist": {"opinions": 2}}),
    ],
)
def test_its_tables_read_as_the_same_recipe(recipe: ConsultationRecipe) -> None:
    assert recipe_of(recipe.tables(), "recorded") == recipe


def test_how_the_shipped_roles_take_part_is_not_written_into_records() -> None:
    tables = read({}).tables()
    assert tables["consultation"].keys() == {
        "specialties", "most", "opinions", "flow", "referrals", "reasons", "views", "triage",
    }  # fmt: skip
    for table in tables["roles"].values():
        assert isinstance(table, dict)
        assert table.keys() == {
            "prompt", "policy", "adapter", "tools", "rubric", "max_turns", "temperature",
            "max_tokens", "trainable",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("roles", "table", "text"),
    [
        ({"second-reader": {}}, {}, "'second-reader', which no role that takes part hears"),
        ({"triag": {}}, {}, "did you mean 'triage'"),
        ({"attending": {"hears": ["specialst"]}}, {}, "did you mean 'specialist'"),
        ({}, {"decides": "atending"}, "did you mean 'attending'"),
        (
            {"chair": {}, "attending": {}},
            {"decides": "chair"},
            "'attending', which no role that takes part hears",
        ),
        (
            {"a": {"hears": ["b"]}, "b": {"hears": ["a"]}, "attending": {"hears": ["a"]}},
            {},
            "in a circle",
        ),
        ({"attending": {"hears": ["attending"]}}, {}, "in a circle"),
        ({"attending": {"hears": ["triage"]}}, {}, "hears a role that chooses specialties"),
        ({"triage": {"opinions": 2}}, {}, "[roles.triage] plays once for a case"),
        ({"attending": {"opinions": 2}}, {}, "[roles.attending] plays once for a case"),
        ({"attending": {"each": "specialty"}}, {}, "[roles.attending] decides"),
        ({"attending": {"asks": "specialty", "hears": []}}, {}, "[roles.attending] decides"),
        ({"specialist": {"asks": "specialty"}}, {}, "let one role do that"),
        ({"attending": {"hears": []}}, {"flow": "dynamic"}, "it hears 0 such roles"),
        ({"second reader": {}, "attending": {"hears": ["second reader"]}}, {}, "cannot be called"),
        ({"specialist": {"each": "case"}}, {}, "hears a role that chooses"),
        ({"specialist": {"each": "patient"}}, {}, "roles.specialist.each"),
    ],
)
def test_a_flow_that_cannot_be_played_is_refused_in_one_line(
    roles: dict[str, object], table: dict[str, object], text: str
) -> None:
    with pytest.raises(UserError) as error:
        read(roles, **table)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_a_registered_role_takes_part_as_the_one_whose_place_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    careful = Role("attending", prompt="You are careful.")
    known = {"careful": careful, **{n: load_role(n) for n in ("attending", "specialist", "triage")}}
    monkeypatch.setattr("medgym.consultation.role.load", lambda _, name: lambda: known[name])
    role = role_of("attending", {"role": "careful"}, "test")
    assert (role.prompt, role.hears) == ("You are careful.", ("specialist",))
    assert role_of("attending", {"role": "careful", "hears": []}, "test").hears == ()


def test_a_recipe_is_a_path_its_tables_or_read_already(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[consultation]\nspecialties = ["surgeon"]\n')
    recipe = consultation_of(tmp_path / "c.toml")
    assert consultation_of({"consultation": {"specialties": ["surgeon"]}}) == recipe
    assert consultation_of(recipe) is recipe
    with pytest.raises(UserError) as error:
        consultation_of({"roles": {"triage": {"prompt": "a secret"}}})
    assert "the given recipe has no table [consultation]" in str(error.value)
    assert "secret" not in str(error.value)
