"""The model that looks: as often as it is set to, wherever chance says, on any seed."""

from pathlib import Path
from typing import Any

import pytest

from medgym import Sampling, collect, load_policy, open_cases, validate
from medgym.episode import Rules
from medgym.registry import load
from medgym.tool import load_tools
from medgym.train.tiny.looker import LookerConfig, looker

CASES = "phantom,look=radiograph,question=kind:train[:2]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return looker(tmp_path_factory.mktemp("looker"))


def played(folder: Path, temperature: float = 1.0) -> list[Any]:
    rules = Rules(tools=load_tools(["zoom"]), max_turns=9, view_size=64)
    policy = load_policy(f"hf:{folder}")
    sampling = Sampling(temperature=temperature, max_tokens=64)
    return list(collect(open_cases(CASES), policy, rules, group_size=8, sampling=sampling))


def test_it_is_registered() -> None:
    assert load("models", "looker") is looker


def test_it_looks_three_times_and_answers(folder: Path) -> None:
    for trajectory in played(folder):
        validate(trajectory)
        assert trajectory.turns == 4
        assert trajectory.calls == ("zoom",) * 3
        assert trajectory.failed_calls == trajectory.malformed == 0
        assert trajectory.answer in tuple("ABCD")


def test_where_it_looks_is_chance(folder: Path) -> None:
    drawn = played(folder)
    assert len({t.looks for t in drawn}) > 8
    assert len({t.answer for t in drawn}) > 1


def test_its_conversations_are_short(folder: Path) -> None:
    for trajectory in played(folder):
        sizes = [len(node.token_ids) for node in trajectory.nodes]
        assert sizes[1::2] == [7, 7, 7, 3]
        assert max(sizes) < 50, "nothing is spelled byte by byte"


def test_it_looks_as_often_as_it_is_set_to(tmp_path: Path) -> None:
    assert {t.turns for t in played(looker(tmp_path, LookerConfig(looks=1)))} == {2}
