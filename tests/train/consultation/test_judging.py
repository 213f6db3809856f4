"""How a consultation is judged: scripted specialists that are known to be right or wrong."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medgym.agents.consultation.policy import Consultation
from medgym.cases import open_cases
from medgym.consultation.recipe import recipe_of
from medgym.consultation.team import Team
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.failures import Failure
from medgym.judge import load_judge
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.seeds import seed_of
from medgym.storage.layout import Place
from medgym.storage.run_folder import content
from medgym.storage.trajectories import TrajectoryStore
from medgym.tool import load_tools
from medgym.train.consultation import judging
from medgym.train.consultation.judging import by_opinions
from medgym.train.consultation.policies import contestants
from medgym.train.consultation.report import print_results
from medgym.train.consultation.training import BASE, Training
from medgym.train.recipe.schema import load_recipe
from medgym.train.run.judging import Contestant
from medgym.train.run.opened import Run

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
    levels = {f"difficulty/{each}" for each in ("easy", "medium", "hard")}
    assert found.keys() == levels | {"overruled"}
    assert {name: found[name].n for name in levels if found[name].n} == {f"difficulty/{level}": 20}
    expected = 1.0 if right or level == "easy" else 0.0
    assert found[f"difficulty/{level}"].value == expected
    assert found["overruled"].n == alike
    if alike:
        assert found["overruled"].value == expected


def test_answers_are_judged_by_what_another_consultation_heard() -> None:
    wrong, oracle = played("alike=1", "vote"), played("accuracy=1", "oracle")
    found = by_opinions(CASES, wrong, oracle)
    assert found["difficulty/hard"] == found["overruled"]
    assert (found["overruled"].n, found["overruled"].value) == (20, 1.0)


def test_wrong_opinions_that_differ_are_hard_and_not_alike() -> None:
    judged = played("accuracy=0", "oracle")
    found = by_opinions(CASES, judged, judged)
    assert found["difficulty/hard"].n == 20
    assert found["overruled"].n < 20


class Down(Policy):
    """A policy whose machinery is broken for good."""

    spec = "down"

    async def act(self, messages: Any, sampling: Sampling) -> Any:
        raise Failure("policy", "nothing answers", final=True)


def judge_by(
    team: Consultation, names: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    found = [
        Contestant(name, lambda: team, CASES[:2], RULES, lambda greedy: Sampling())
        for name in names
    ]
    monkeypatch.setattr(judging, "contestants", lambda *_: found)
    run = SimpleNamespace(test=CASES[:2], place=Place(folder), seed=lambda _: seed_of(0, "judge"))
    training: Any = SimpleNamespace(run=run)
    return judging.judged(training, team.policies)


def test_a_specialist_that_failed_counts_as_failed_in_training_as_in_eval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = "scripted:specialist,specialty=ophthalmologist,accuracy=1"
    broken = team_of("accuracy=1", "oracle")
    broken.policies.add(spec, Down())
    figures = judge_by(broken, ("attending",), tmp_path, monkeypatch)
    for judgement in figures["attending"].values():
        assert judgement["accuracy"]["value"] == 1
        assert judgement["roles"]["specialist:ophthalmologist"]["failed"] == 6
    stored = list(TrajectoryStore(tmp_path / "judged" / "attending"))
    assert len(stored) == 2

    evaluated = load_judge()(
        broken, CASES[:2], RULES, sampling=Sampling(), seed=seed_of(0, "judge")
    )
    assert content(evaluated.trajectories) == content(stored)
    failed = {role: each.failed for role, each in evaluated.roles.items()}
    assert failed == {"triage": 0, "specialist:ophthalmologist": 6, "attending": 0}

    results = {"recipe": "r", "seed": 0, "policies": figures, "seconds": {"total": 1.0}}
    print_results(results, tmp_path)
    line = "failed parts of the specialist:ophthalmologist in 'consultation': 12\n"
    assert line in capsys.readouterr().out


def test_a_case_whose_attending_failed_could_not_be_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = team_of("accuracy=1", "oracle")
    broken.policies.add("scripted:oracle", Down())
    with pytest.raises(RunError, match="nothing answers"):
        judge_by(broken, ("attending",), tmp_path, monkeypatch)
    assert not (tmp_path / "judged").exists()


class Closable(Down):
    """Counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_training_closes_every_policy_that_it_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Closable] = []

    def load(_: object, **options: object) -> Policy:
        made.append(Closable())
        return made[-1]

    monkeypatch.setattr("medgym.consultation.role_policies.load_policy", load)
    monkeypatch.setattr("medgym.train.consultation.training.model_policy", load)
    training = Training(Run(load_recipe("consult-tiny")[0], tmp_path))
    with training.policies() as policies:
        policies.base(BASE)
        team = training.team(policies)
        for specialty in ("surgeon", "radiologist"):
            policies.of(team.recipe.role("specialist"), specialty)
        team.close()  # its policies are shared
        assert [each.closed for each in made] == [0, 0, 0]
    assert [each.closed for each in made] == [1, 1, 1]


def test_a_consultation_closes_its_own_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Closable()
    monkeypatch.setattr("medgym.consultation.role_policies.load_policy", lambda _, **__: policy)
    team = team_of("accuracy=1", "vote")
    team.policies.base("scripted:vote")
    team.close()
    assert policy.closed == 1


def test_what_is_judged_again_replaces_what_was_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("attending", "attending_before", "majority")
    for _ in range(2):
        figures = judge_by(team_of("accuracy=1", "vote"), names, tmp_path, monkeypatch)
        assert figures["attending"]["sampled"]["accuracy"]["value"] == 1
        assert len(TrajectoryStore(tmp_path / "judged" / "attending")) == 2


def test_a_frozen_role_may_be_a_team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "medgym.train.consultation.training.model_policy",
        lambda *_, **given: load_policy("scripted:oracle"),
    )
    recipe, _ = load_recipe("consult-tiny")
    frozen = {"policy": "majority:3:scripted:oracle", "trainable": False}
    roles = {**recipe.roles, "triage": {**recipe.roles.get("triage", {}), **frozen}}
    marl = recipe.marl.model_copy(update={"single": False})
    recipe = recipe.model_copy(update={"roles": roles, "marl": marl})
    training = Training(Run(recipe, tmp_path))
    with training.policies() as policies:
        found = {each.name: each for each in contestants(training, policies)}
        triage, whole = found["triage"], found["attending"]
        assert isinstance(triage.policy(), Team)
        (chosen,) = collect(triage.cases[:1], triage.policy(), triage.rules)
        assert chosen.correct
        (played,) = collect(whole.cases[:1], whole.policy(), whole.rules)
        assert {role.partition("/")[0] for role, _ in played.parts()} >= {"triage", "attending"}
