"""The base is made once for all that makes it, and its tokenizer knows its dialogues by heart."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import load_policy
from medgym.registry import load
from medgym.rollout import collect
from medgym.tool import load_tools
from medgym.train.models.checkpoint import load_model
from medgym.train.tiny import base as module
from medgym.train.tiny.base import BaseConfig, tiny_base
from medgym.train.tiny.dialogues import Stubborn
from medgym.train.tiny.model import TinyConfig

QUICK = BaseConfig(
    model=TinyConfig(hidden=32, text_layers=1, vision_layers=1, heads=2),
    cases="phantom,look=radiograph,question=kind:train[:64]",
    warm_steps=2,
    steps=2,
    batch=4,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield tiny_base(QUICK)


def test_it_is_taken_from_the_cache_the_second_time(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_teach", lambda *_: pytest.fail("made again"))
    assert tiny_base(QUICK) == made


def test_another_setting_makes_another_one(made: Path) -> None:
    other = tiny_base(replace(QUICK, steps=1))
    assert other != made
    assert {made, other} == set(made.parent.iterdir())


def test_a_failure_leaves_nothing_behind(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no power")

    monkeypatch.setattr(module, "_teach", fail)
    before = set(made.parent.iterdir())
    with pytest.raises(RuntimeError, match="no power"):
        tiny_base(replace(QUICK, steps=3))
    assert set(made.parent.iterdir()) == before


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot write to the cache .*; fix: .*XDG_CACHE_HOME"):
        tiny_base(QUICK)


def test_versions_are_part_of_its_name(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_teach", lambda *_: None)
    monkeypatch.setattr(module.transformers, "__version__", "0")
    assert tiny_base(QUICK) != made


def test_a_dialogue_is_about_seventy_tokens(made: Path) -> None:
    model, processor = load_model(made)
    looker = load_policy("scripted:demonstrator,good=1,steps=7")
    policy = load("policies", "hf")(model, processor).imitating(looker)
    rules = Rules(tools=load_tools(["zoom"]), max_turns=2, view_size=64)
    cases = open_cases("phantom,look=radiograph,question=kind:test[:4]")
    for trajectory in collect(cases, policy, rules):
        prompt, call, tool, answer = (len(node.token_ids) for node in trajectory.branch(3))
        assert (prompt, call, tool, answer) == (30, 7, 27, 3)


def test_bare_and_armed_dialogues_are_both_known(made: Path) -> None:
    model, processor = load_model(made)
    policy = load("policies", "hf")(model, processor).imitating(load_policy("scripted:prior"))
    cases = open_cases("phantom,look=radiograph,question=kind:test[:1]")
    for tools in (load_tools(["zoom"]), ()):
        trajectory = next(collect(cases, policy, Rules(tools=tools, view_size=64)))
        assert len(trajectory.nodes[0].token_ids) == 30


def test_a_call_without_tools_is_refused_in_one_piece_and_then_guessed(made: Path) -> None:
    model, processor = load_model(made)
    policy = load("policies", "hf")(model, processor).imitating(Stubborn())
    cases = open_cases("phantom,look=radiograph,question=kind:test[:1]")
    trajectory = next(iter(collect(cases, policy, Rules(max_turns=2, view_size=64))))
    assert trajectory.nodes[2].text.startswith("Error: there is no tool 'zoom'")
    assert [len(node.token_ids) for node in trajectory.branch(3)] == [30, 7, 9, 3]
    assert trajectory.terminated
