"""What is told by opinions: scripted specialists of whom it is known when they are right."""

from types import SimpleNamespace
from typing import Any

import pytest

from medgym.agents.consultation import Consultation
from medgym.agents.consultation_recipe import recipe_of
from medgym.cases import open_cases
from medgym.env import load_tools
from medgym.episode import Rules
from medgym.rollout import collect
from medgym.train.consult_judge import by_opinions

CASES = open_cases("phantom,look=fundus,question=diagnosis:test[:20]")
RULES = Rules(tools=load_tools(["zoom"]), view_size=64)


def played(specialist: str, attending: str) -> Any:
    roles = {
        "triage": {"policy": "scripted:oracle"},
        "specialist": {"policy": f"scripted:specialist,specialty={{specialty}},{specialist}"},
        "attending": {"policy": f"scripted:{attending}"},
    }
    table = {"specialties": ["ophthalmologist", "surgeon"]}
    team = Consultation(recipe_of({"consultation": table, "roles": roles}, "test"))
    return SimpleNamespace(trajectories=list(collect(CASES, team, RULES, ordered=True)))


@pytest.mark.parametrize(
    ("specialist", "level", "alike"),
    [("accuracy=1", "easy", 0), ("alike=1", "hard", 20)],
)
@pytest.mark.parametrize(("attending", "right"), [("oracle", 20), ("vote", None)])
def test_cases_fall_under_what_was_said_of_them(
    specialist: str, level: str, alike: int, attending: str, right: int | None
) -> None:
    judged = played(specialist, attending)
    found = by_opinions(CASES, judged, judged)
    assert {name: rate["n"] for name, rate in found["by_difficulty"].items() if rate["n"]} == {
        level: 20
    }
    expected = 1.0 if right or level == "easy" else 0.0
    assert found["by_difficulty"][level]["value"] == expected
    assert found["overruled"]["n"] == alike
    if alike:
        assert found["overruled"]["value"] == expected


def test_answers_are_judged_by_what_another_consultation_heard() -> None:
    wrong, oracle = played("alike=1", "vote"), played("accuracy=1", "oracle")
    found = by_opinions(CASES, wrong, oracle)
    assert found["by_difficulty"]["hard"] == found["overruled"]
    assert (found["overruled"]["n"], found["overruled"]["value"]) == (20, 1.0)


def test_wrong_opinions_that_differ_are_hard_and_not_alike() -> None:
    judged = played("accuracy=0", "oracle")
    found = by_opinions(CASES, judged, judged)
    assert found["by_difficulty"]["hard"]["n"] == 20
    assert found["overruled"]["n"] < 20
