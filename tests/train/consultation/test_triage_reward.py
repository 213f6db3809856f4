"""Triage earns by what its choice leads to: scripted specialists, of whom one knows the case."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from medgym.agents.consultation.policy import Consultation
from medgym.cases import Case, open_cases
from medgym.consultation.opinions import triage_case
from medgym.consultation.recipe import recipe_of
from medgym.episode import Rules
from medgym.errors import RunError
from medgym.failures import Failure
from medgym.imaging.study import ImageRef
from medgym.messages import Message, Reply
from medgym.policy import Policy, Sampling, load_policy
from medgym.train.consultation.opinions import Advice
from medgym.train.consultation.triage_reward import Outcomes, play_out

CASES = list(open_cases("phantom,look=radiograph+fundus+histology,question=diagnosis:train[:24]"))
THREE = ("radiologist", "ophthalmologist", "pathologist")
RULES = Rules(view_size=64)


@pytest.fixture(scope="module", autouse=True)
def quick_images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody here looks: the images are exchanged for one that is quickly opened."""
    path = tmp_path_factory.mktemp("images") / "grey.png"
    Image.new("L", (512, 512), 90).save(path)
    ref = ImageRef(uri=path.as_uri())
    CASES[:] = [case.model_copy(update={"images": (ref,)}) for case in CASES]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What each specialist alone leads to, where all of them know the answer."""
    return played_out(tmp_path_factory.mktemp("known"), 1, "scripted:oracle")


def played_out(tmp_path: Path, most: int, specialist: str) -> Outcomes:
    roles = {
        "triage": {"policy": "scripted:oracle"},
        "specialist": {"policy": specialist, "tools": []},
        "attending": {"policy": "scripted:vote"},
    }
    table = {"specialties": list(THREE), "most": most}
    team = Consultation(recipe_of({"consultation": table, "roles": roles}, "test"))
    advice = Advice(team, tmp_path / "opinions", RULES, Sampling(), 5)
    vote = load_policy("scripted:vote")
    limits: dict[str, Any] = {"specialties": THREE, "most": most, "seed": 5}
    return play_out(CASES, advice, vote, RULES, Sampling(), **limits)


class Down(Policy):
    """Its machinery fails for good."""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        raise Failure("policy", "the endpoint is down", final=True)


@pytest.mark.parametrize("down", ["triage", "specialist", "attending"])
def test_nobody_learns_from_what_the_machinery_failed_at(tmp_path: Path, down: str) -> None:
    """Nobody chose nobody, no case is hard, and no choice was wrong: the stage stops."""
    roles: dict[str, Any] = {
        name: {"policy": "scripted:down" if name == down else "scripted:prior"}
        for name in ("triage", "specialist", "attending")
    }
    team = Consultation(recipe_of({"consultation": {}, "roles": roles}, "test"))
    team.policies.add("scripted:down", Down())
    advice = Advice(team, tmp_path / "opinions", RULES, Sampling(), 5)

    def collect() -> None:
        if down == "attending":
            limits: dict[str, Any] = {"specialties": THREE, "most": 1, "seed": 5}
            play_out(CASES[:2], advice, Down(), RULES, Sampling(), **limits)
        else:
            advice.triaged(CASES[:2])

    with pytest.raises(RunError, match=r"phantom/.* could not be played \(policy: the endpoint"):
        collect()


def test_a_specialist_who_fails_beside_others_says_nothing(tmp_path: Path) -> None:
    class Once(Down):
        calls = 0

        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            self.calls += 1
            if self.calls % 3 == 1:
                return await super().act(conversation, sampling)
            return Reply("<answer>A</answer>")

    roles = {"triage": {"policy": "scripted:oracle"}, "specialist": {"policy": "scripted:once"}}
    recipe = recipe_of({"consultation": {}, "roles": roles}, "test")
    team = Consultation(recipe)
    team.policies.add("scripted:once", Once())
    advised = Advice(team, tmp_path / "opinions", RULES, Sampling(), 5).triaged(CASES[:4])
    for each in advised:
        said = sorted(str(opinion.answer) for opinion in each.opinions)
        assert said == sorted(["None", *[each.case.options[0]] * 2])
        assert each.shown.context.count(": no answer") == 1


def reward(outcomes: Outcomes, case: Case, text: str) -> tuple[float, dict[str, float]]:
    asked = triage_case(case, THREE)
    episode = Rules(rubric=outcomes.rubric(), max_turns=1, view_size=64).begin(asked)
    episode.step(text)
    assert episode.score is not None
    return episode.score.total, dict(episode.score.terms)


def test_the_choice_that_leads_to_the_right_answer_earns_it(tmp_path: Path) -> None:
    knows = "scripted:specialist,specialty={specialty},accuracy=1"
    outcomes = played_out(tmp_path, 1, knows)
    assert len(outcomes.right) == len(CASES) * 3
    others = []
    for case in CASES:
        for letter, specialty in zip("ABC", THREE, strict=True):
            right = outcomes.right[case.id, frozenset((specialty,))]
            total, terms = reward(outcomes, case, f"<answer>{letter}</answer>")
            assert terms == {"outcome": right, "format": 1.0}
            assert total == right + 0.5
            if specialty == case.specialty:
                assert right == 1
            else:
                others.append(right)
    assert sum(others) / len(others) < 0.5


@pytest.mark.parametrize(
    ("text", "earned"),
    [("<answer>D</answer>", 0.0), ("<answer>A, B</answer>", 0.5), ("A", 0.0), ("", 0.0)],
)
def test_who_chooses_nobody_earns_no_outcome(known: Outcomes, text: str, earned: float) -> None:
    assert set(known.right.values()) == {1.0}
    assert reward(known, CASES[0], text)[0] == earned


def test_several_may_be_chosen_in_any_order(tmp_path: Path) -> None:
    outcomes = played_out(tmp_path, 2, "scripted:oracle")
    assert len(outcomes.right) == len(CASES) * 6
    for text in ("A, B", "B, A", "pathologist"):
        assert reward(outcomes, CASES[0], f"<answer>{text}</answer>")[0] == 1.5
    assert reward(outcomes, CASES[0], "<answer>A, B, C</answer>")[1]["outcome"] == 0


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    outcomes = played_out(tmp_path, 2, "scripted:prior")
    outcomes.write(tmp_path / "outcomes.jsonl")
    assert Outcomes.read(tmp_path / "outcomes.jsonl", 2) == outcomes


def test_training_cases_show_opinions_in_orders_of_their_own(tmp_path: Path) -> None:
    roles = {name: {"policy": "scripted:prior"} for name in ("triage", "specialist", "attending")}
    table = {"specialties": list(THREE), "opinions": 1, "most": 3}
    team = Consultation(recipe_of({"consultation": table, "roles": roles}, "test"))
    advised = Advice(team, tmp_path, RULES, Sampling(), 5).chosen(CASES, THREE)
    orders = {tuple(opinion.who for opinion in each.opinions) for each in advised}
    assert len(orders) > 3
    assert {order[0] for order in orders} == set(THREE)


def test_an_unreadable_case_costs_only_itself(tmp_path: Path) -> None:
    """Neither triage nor the attending learns from it; the others keep what they lead to."""
    gone = ImageRef(uri=(tmp_path / "gone.png").as_uri())
    cases = [CASES[0].model_copy(update={"images": (gone,)}), *CASES[1:6]]
    roles = {"triage": {"policy": "scripted:oracle"}, "specialist": {"policy": "scripted:oracle"}}
    team = Consultation(recipe_of({"consultation": {}, "roles": roles}, "test"))
    advice = Advice(team, tmp_path / "opinions", RULES, Sampling(), 5)
    assert [each.case.id for each in advice.triaged(cases)] == [case.id for case in cases[1:]]
    assert list(advice.unreadable) == [cases[0].id]
    assert "no such image" in advice.unreadable[cases[0].id]
    heard = Advice(team, tmp_path / "opinions", RULES, Sampling(), 6)
    limits: dict[str, Any] = {"specialties": THREE, "most": 1, "seed": 5}
    vote = load_policy("scripted:vote")
    outcomes = play_out(cases, heard, vote, RULES, Sampling(), **limits)
    assert outcomes.cases == {case.id for case in cases[1:]}
    assert list(heard.unreadable) == [cases[0].id]


def test_an_image_that_is_lost_after_the_specialists_saw_it_has_no_outcome(tmp_path: Path) -> None:
    path = tmp_path / "seen.png"
    Image.new("L", (512, 512), 80).save(path)
    lost = CASES[0].model_copy(update={"images": (ImageRef(uri=path.as_uri()),)})
    cases = [lost, *CASES[1:3]]
    roles = {"triage": {"policy": "scripted:oracle"}, "specialist": {"policy": "scripted:oracle"}}
    team = Consultation(recipe_of({"consultation": {}, "roles": roles}, "test"))
    advice = Advice(team, tmp_path / "opinions", RULES, Sampling(), 7)
    for specialty in THREE:
        assert len(advice.chosen(cases, (specialty,))) == 3
    path.unlink()
    limits: dict[str, Any] = {"specialties": THREE, "most": 1, "seed": 5}
    outcomes = play_out(cases, advice, load_policy("scripted:vote"), RULES, Sampling(), **limits)
    assert outcomes.cases == {case.id for case in cases[1:]}
    assert list(advice.unreadable) == [lost.id]
    assert lost.id not in {case for case, _ in outcomes.right}, "no choice was wrong"
