"""The consultation as a PettingZoo environment, by PettingZoo's own checks."""

import warnings
from pathlib import Path

import pytest

pytest.importorskip("pettingzoo")

from pettingzoo.test import api_test, seed_test

from medgym.agents.consultation.pettingzoo import ConsultationAEC
from medgym.errors import UserError
from medgym.messages import render_call

CASES = "phantom,look=radiograph+fundus+histology,question=diagnosis:test[:30]"
RECIPE = """
[consultation]
specialties = ["radiologist", "ophthalmologist", "pathologist"]
opinions = 2
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(RECIPE)
    return path


def test_pettingzoos_own_checks_pass(recipe: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # spaces are text and images, not boxes
        api_test(ConsultationAEC(CASES, recipe, max_turns=3), num_cycles=60)
        seed_test(lambda: ConsultationAEC(CASES, recipe, max_turns=3), num_cycles=20)


def test_roles_act_in_turn_and_earn_by_their_own_rubric(recipe: Path) -> None:
    env = ConsultationAEC(CASES, recipe)
    case = env.cases[1]
    env.reset(options={"case": case.id})
    gold = "ABCDEFGH"[case.options.index(case.answer)]
    acted, rewards = [], {}
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        assert env.observation_space(agent).contains(observation)
        if terminated or truncated:
            rewards[agent] = (reward, info.get("correct"))
            env.step(None)
            continue
        acted.append(agent)
        if agent == "attending":
            assert observation["text"].count(f"- {case.specialty}: {case.answer}") == 2
        env.step(f"<answer>{case.specialty if agent == 'triage' else gold}</answer>")
    own = [f"specialist:{case.specialty}/{n}" for n in range(2)]
    assert acted == ["triage", *own, "attending"]
    assert rewards["triage"] == (1.5, True)
    assert rewards["attending"] == (pytest.approx(1.1), True)
    assert all(rewards[agent] == (0.0, None) for agent in rewards.keys() - {*acted})


def test_a_dynamic_flow_is_refused(recipe: Path) -> None:
    recipe.write_text(RECIPE + 'flow = "dynamic"\n')
    with pytest.raises(UserError, match="static"):
        ConsultationAEC(CASES, recipe)


@pytest.mark.parametrize("reasons", [True, False])
def test_the_attending_reads_reasons_where_the_recipe_says_so(recipe: Path, reasons: bool) -> None:
    recipe.write_text(RECIPE + f"reasons = {str(reasons).lower()}\n")
    env = ConsultationAEC(CASES, recipe)
    env.reset(options={"case": env.cases[1].id})
    for agent in env.agent_iter():
        observation, _, terminated, truncated, _ = env.last()
        if terminated or truncated:
            env.step(None)
            continue
        if agent == "attending":
            told = observation["text"].count("(because: it is bright)")
            assert told == (2 if reasons else 0)
        said = env.cases[1].specialty if agent == "triage" else "A"
        env.step(f"<think>it is bright</think><answer>{said}</answer>")


def test_each_turn_has_its_chat_message_with_all_images(recipe: Path) -> None:
    env = ConsultationAEC(CASES, recipe)
    case = env.cases[2]
    env.reset(options={"case": case.id})
    call = render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]})
    looked = 0
    for agent in env.agent_iter():
        observation, _, terminated, truncated, info = env.last()
        if terminated or truncated:
            env.step(None)
            continue
        parts = info["message"]["content"]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        assert all(text in observation["text"] for text in texts)
        images = [part["image"] for part in parts if part["type"] == "image"]
        assert images
        if "system" in info:  # a part begins
            assert observation["text"].startswith(info["system"])
            assert info["case"] == case.id
        elif agent != "triage":
            looked += 1
        if agent == "triage":
            env.step(f"<answer>{case.specialty}</answer>")
        elif "system" in info:
            env.step(call)
        else:
            env.step("<answer>A</answer>")
        if agent == "attending" and "system" in info:
            assert len(images) == 2  # the case's, and where the specialists looked
    assert looked == 3


def test_a_role_of_another_name_acts_in_its_place() -> None:
    roles = {
        "second-reader": {"hears": ["specialist"], "opinions": 2},
        "attending": {"hears": ["second-reader"]},
    }
    table = {"specialties": ["radiologist", "ophthalmologist"], "opinions": 1}
    env = ConsultationAEC(CASES, {"consultation": table, "roles": roles}, max_turns=2)
    agents = ["second-reader/0", "second-reader/1"]
    doctors = ["specialist:radiologist/0", "specialist:ophthalmologist/0"]
    assert env.possible_agents == ["triage", *doctors, *agents, "attending"]
    env.reset(seed=1)
    acted = []
    for agent in env.agent_iter():
        observation, _, terminated, truncated, _ = env.last()
        if terminated or truncated:
            env.step(None)
            continue
        acted.append(agent)
        if agent in agents:
            assert observation["text"].count("- ophthalmologist: ") == 1
        if agent == "attending":
            assert observation["text"].count("- second-reader: ") == 2
        env.step("<answer>B</answer>")
    assert acted == ["triage", doctors[1], *agents, "attending"]


def test_a_wrong_recipe_of_tables_is_not_printed() -> None:
    with pytest.raises(UserError) as error:
        ConsultationAEC(CASES, {"roles": {"triage": {"prompt": "a secret"}}})
    assert "the given recipe has no table [consultation]" in str(error.value)
    assert "secret" not in str(error.value)
