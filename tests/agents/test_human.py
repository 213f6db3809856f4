import asyncio

import pytest

from medgym.agents.human import Human
from medgym.errors import RunError, UserError
from medgym.policy import Sampling, load_policy


def typed(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("builtins.input", lambda prompt: line)
    return asyncio.run(Human().act((), Sampling())).text


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("B", "<answer>B</answer>"),
        (" two words ", "<answer>two words</answer>"),
        (
            "zoom 0 120 300 380.5 560",
            '<tool_call>{"name": "zoom", "arguments": '
            '{"view": 0, "box": [120, 300, 380.5, 560]}}</tool_call>',
        ),
        ("zoom 0 1 2 3", "<answer>zoom 0 1 2 3</answer>"),
        (
            "slice 1 level 2 0",
            '<tool_call>{"name": "slice", "arguments": '
            '{"view": 1, "plane": "level 2", "index": 0}}</tool_call>',
        ),
        (
            "slice 1 12",
            '<tool_call>{"name": "slice", "arguments": {"view": 1, "index": 12}}</tool_call>',
        ),
        ("<answer>A</answer>", "<answer>A</answer>"),
        ("", ""),
    ],
)
def test_a_line_is_a_reply(line: str, reply: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(line, monkeypatch) == reply


def test_the_end_of_the_input_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    with pytest.raises(RunError, match="the input ended"):
        asyncio.run(Human().act((), Sampling()))


def test_human_is_the_whole_spec() -> None:
    assert isinstance(load_policy("human"), Human)
    with pytest.raises(UserError, match="human takes nothing after it"):
        load_policy("human:me")
