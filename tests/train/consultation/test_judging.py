"""What is told by opinions: scripted specialists of whom it is known when they are right."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medgym.agents.consultation.policy import Consultation
from medgym.agents.consultation.recipe import recipe_of
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.failures import Failure
from medgym.policy import Policy, Sampling
from medgym.rollout import collect
from medgym.storage.trajectories import TrajectoryStore
from medgym.tool import load_tools
from medgym.train.consultation import judging as consult_judge
from medgym.train.consultation.judging import by_opinions

CASES = open_cases("phantom,look=fundus,question=diagnosis:test[:20]")
RULES = Rules(tools=load_tools(["zoom"]), view_size=64)


def team_of(specialist: str, attending: str) -> Consultation:
    roles = {
        "triage": {"policy": "scripted:oracle"},
        "specialist": {"policy": f"scripted:specialist,specialty={{specialty}},{specialist}"},
        "attending": {"policy": f"scripted:{attending}"},
    }
    table = {"specialties": ["ophthalmologist", "surgeon"]}
    return Consultation(recipe_of({"consultation": table, "roles": roles}, "test"))


def played(specialist: str, attending: str) -> Any:
    team = team_of(specialist, attending)
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


class Down(Policy):
    """A policy whose machinery is broken for good."""

    spec = "down"

    async def act(self, messages: Any, sampling: Sampling) -> Any:
        raise Failure("policy", "nothing answers", final=True)


def judge_by(
    team: Any, names: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    player = (team, CASES[:2], RULES, lambda greedy: Sampling())
    monkeypatch.setattr(consult_judge, "players", lambda *_: dict.fromkeys(names, player))
    recipe = SimpleNamespace(cases=SimpleNamespace(test=""), seed=0)
    run = SimpleNamespace(test=CASES[:2])
    training: Any = SimpleNamespace(recipe=recipe, folder=folder, run=run)
    return consult_judge.judged(training, team)


def test_a_consultation_that_went_on_without_somebody_has_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = team_of("accuracy=1", "vote")
    team.players.add("scripted:specialist,specialty=ophthalmologist,accuracy=1", Down())
    said = r"without the specialist:ophthalmologist \(policy: nothing answers\).*--resume"
    with pytest.raises(RunError, match=said):
        judge_by(team, ("attending",), tmp_path, monkeypatch)
    assert not (tmp_path / "judged").exists()


def test_what_is_judged_again_replaces_what_was_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("attending", "attending_before", "majority")
    for _ in range(2):
        figures = judge_by(team_of("accuracy=1", "vote"), names, tmp_path, monkeypatch)
        assert figures["attending"]["accuracy"] == 1
        assert len(TrajectoryStore(tmp_path / "judged" / "attending")) == 2
