"""The doctor says in which form a model writes tools more readably."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from medgym.agents.hf.policy import HFPolicy
from medgym.commands.shared_options import cases_and_rules
from medgym.messages import Message, Reply
from medgym.policy import Sampling
from medgym.tool_form import ToolFormName
from medgym.train.doctor import tool_form as checked
from medgym.train.doctor.subject import Subject
from medgym.train.doctor.tool_form import tool_form
from medgym.train.models.checkpoint import load_model
from tests.families import build

SPEC = "phantom,look=radiograph,question=kind:test[:3]"


def subject_of(model: Any, processor: Any, *, tools: Sequence[str] = ("zoom",)) -> Subject:
    cases, rules = cases_and_rules(SPEC, tools=tools, max_turns=3)
    return Subject(model, processor, cases, rules)


def test_both_forms_are_played_and_counted(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An untrained model writes no form; all that it was asked for is counted."""
    monkeypatch.setattr(checked, "REPLIES", 6)
    check = tool_form(subject_of(*load_model(tiny_folder)))
    assert check.verdict == "pass"
    assert check.figure["replies"] == 6
    assert check.figure["text"] == check.figure["native"] == 0.0
    assert 0 < int(check.figure["cut text"]) <= 6
    assert check.fix == ""


def test_the_better_form_is_named(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sampled is exchanged, so that each form is the better one in its turn."""
    monkeypatch.setattr(checked, "REPLIES", 4)
    asked: list[int] = []
    wanted = False

    async def act(self: HFPolicy, said: Sequence[Message], sampling: Sampling) -> Reply:
        native = self.renderer.rewrites
        asked.append(sampling.seed)
        return Reply("<answer>A</answer>" if native == wanted else "I think so.")

    monkeypatch.setattr(HFPolicy, "act", act)
    subject = subject_of(*load_model(tiny_folder))
    rows: list[tuple[bool, ToolFormName, str]] = [
        (True, "text", '"native"'),
        (False, "text", ""),
        (False, "native", '"text"'),
        (True, "native", ""),
    ]
    for wanted, own, fix in rows:  # noqa: B007 - `act` reads it
        check = tool_form(replace(subject, tool_form=own))
        assert check.verdict == "pass"
        assert check.fix.endswith(fix)
        assert bool(check.fix) == bool(fix)
        assert {check.figure["text"], check.figure["native"]} == {0.0, 1.0}
    assert set(asked) == {0, 1, 2, 3}  # each reply has a seed of its own


def test_nothing_is_sampled_where_there_is_no_place_for_tools() -> None:
    model, processor = build("qwen2.5-vl")
    check = tool_form(subject_of(model, processor))
    assert check.figure == {"native": "the model's chat template has no place for tools"}
    assert tool_form(subject_of(model, processor, tools=())).figure == {
        "native": "no tools are offered"
    }
