"""The flow of a consultation: which parts it yields, side by side, and what each of them hears."""

from collections.abc import Sequence

from medgym.cases import open_cases
from medgym.consultation.flow import (
    PartOutcome,
    RolePart,
    consultation_flow,
    panel_parts,
    possible_parts,
)
from medgym.consultation.opinions import Opinion
from medgym.consultation.recipe import ConsultationRecipe, recipe_of
from medgym.trajectory import Look, failed_trajectory

CASE = open_cases("phantom,look=histology,question=diagnosis:test")[0]
TWO = ["radiologist", "pathologist"]


def recipe(roles: dict[str, object], **table: object) -> ConsultationRecipe:
    table = {"specialties": TWO, "opinions": 2, **table}
    return recipe_of({"consultation": table, "roles": roles}, "test")


def run(made: ConsultationRecipe, said: dict[str, PartOutcome]) -> list[list[RolePart]]:
    """All parts by stage; `said` are outcomes by the name of a part."""

    def backwards(opinions: Sequence[Opinion]) -> list[Opinion]:
        return list(reversed(opinions))

    flow = consultation_flow(made, CASE, backwards)
    stages = [list(next(flow))]
    while True:
        try:
            stages.append(list(flow.send([said.get(p.name, PartOutcome("A")) for p in stages[-1]])))
        except StopIteration:
            return stages


def seed_names(stages: list[list[RolePart]]) -> list[list[str]]:
    return [[part.seed_name for part in stage] for stage in stages]


def test_triage_then_its_choice_then_the_attending() -> None:
    stages = run(recipe({}), {"triage": PartOutcome("B")})
    assert seed_names(stages) == [
        ["triage"],
        ["specialist:pathologist/0/0", "specialist:pathologist/0/1"],
        ["attending"],
    ]
    assert stages[0][0].case.options == tuple(TWO)
    assert stages[1][0].case == CASE
    assert [part.required for stage in stages for part in stage] == [True, False, False, True]
    assert stages[2][0].case.context.count("- pathologist: ") == 2


def test_a_stage_without_parts_is_passed_over() -> None:
    stages = run(recipe({}), {"triage": PartOutcome("dentist")})
    assert seed_names(stages) == [["triage"], ["attending"]]
    assert stages[1][0].case.context.endswith("Opinions: none")
    assert stages[1][0].heard == ()


def test_who_hears_whom_is_the_recipes() -> None:
    roles = {
        "reader": {"hears": ["specialist"], "opinions": 2},
        "attending": {"hears": ["reader"]},
    }
    said = {
        "specialist:radiologist": PartOutcome("A", thought="bright"),
        "specialist:pathologist": PartOutcome("B"),
        "reader": PartOutcome("C", thought="unsure"),
    }
    stages = run(recipe(roles, triage=False, opinions=1), said)
    assert seed_names(stages)[1:] == [["reader/0/0", "reader/0/1"], ["attending"]]
    options = CASE.options
    for part in stages[1]:
        assert [(o.who, o.answer) for o in part.heard] == [
            ("pathologist", options[1]),
            ("radiologist", options[0]),
        ]
        assert "- radiologist: " in part.case.context
        assert "(because: bright)" in part.case.context
    assert [o.who for o in stages[2][0].heard] == ["reader", "reader"]
    assert "radiologist" not in stages[2][0].case.context
    assert "(because: unsure)" in stages[2][0].case.context
    quiet = run(recipe(roles, triage=False, opinions=1, reasons=False), said)
    assert "because" not in quiet[2][0].case.context


def test_a_role_is_shown_where_those_that_it_hears_looked() -> None:
    look = Look("zoom", 0, (1.0, 1.0, 9.0, 9.0))
    roles = {"reader": {}, "attending": {"hears": ["reader"]}}
    stages = run(recipe(roles), {"reader": PartOutcome("A", looks=(look,))})
    assert [(view.by, view.box_px) for view in stages[-1][0].case.views] == [
        ("reader", look.box_px)
    ]


def test_roles_that_hear_no_other_play_side_by_side() -> None:
    roles = {"reader": {}, "attending": {"hears": ["specialist", "reader"]}}
    stages = run(recipe(roles), {"triage": PartOutcome("A")})
    assert {part.name for part in stages[0]} == {"triage", "reader"}
    assert [part.required for part in stages[0] if part.name == "triage"] == [True]


def test_the_parts_of_a_panel_are_those_of_the_consultation() -> None:
    made = recipe({})
    assert (
        list(panel_parts(made, CASE, "pathologist"))
        == run(made, {"triage": PartOutcome("pathologist")})[1]
    )


def test_possible_parts_are_all_agents_in_their_order() -> None:
    assert [part.agent for part in possible_parts(recipe({}, opinions=1), CASE)] == [
        "triage", "specialist:radiologist/0", "specialist:pathologist/0", "attending",
    ]  # fmt: skip


def test_a_part_that_failed_said_nothing() -> None:
    failed = failed_trajectory(CASE, policy="x", seed=0, member=0, failure="down")
    assert PartOutcome.of(failed) == PartOutcome(None)
