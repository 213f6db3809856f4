import asyncio

import pytest

from medgym.agents.human import Human
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.messages import Message, TextPart, render_answer, render_call
from medgym.policy import Sampling, load_policy
from medgym.tool import load_tools


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
        ("<answer>A</answer>", "<answer>A</answer>"),
        ("", ""),
    ],
)
def test_a_line_is_a_reply(line: str, reply: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(line, monkeypatch) == reply


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("slice 0 axial 12", render_call("slice", {"view": 0, "plane": "axial", "index": 12})),
        ("slice 1 12", render_call("slice", {"view": 1, "index": 12})),
        (
            "window 1 -600 1500",
            render_call("window", {"view": 1, "centre": -600.0, "width": 1500.0}),
        ),
        ("window 2 soft tissue", render_call("window", {"view": 2, "preset": "soft tissue"})),
        ("slice  0   axial 12", render_call("slice", {"view": 0, "plane": "axial", "index": 12})),
    ],
)
def test_slices_and_windows_have_short_forms_where_there_are_such_tools(
    line: str, reply: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def typing(prompt: str) -> str:
        asked.append(prompt)
        return line

    monkeypatch.setattr("builtins.input", typing)
    offered = Rules(load_tools(["slice", "window"])).instructions
    for told, said in ((offered, reply), ("", render_answer(line))):
        assert (
            asyncio.run(Human().act([Message("system", (TextPart(told),))], Sampling())).text
            == said
        )
    assert "slice VIEW PLANE INDEX" in asked[0]
    assert "slice" not in asked[1]


@pytest.mark.parametrize("slip", ["slice 12", "slice", "window 1 nan 400", "window 0 -5 0 10 10"])
def test_a_call_with_a_slip_in_it_is_no_answer(
    slip: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter([slip, f"<answer>{slip}</answer>"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    offered = Rules(load_tools(["slice", "window"])).instructions
    reply = asyncio.run(Human().act([Message("system", (TextPart(offered),))], Sampling()))
    assert reply.text == render_answer(slip)
    said = capsys.readouterr().err
    assert f"this is no call of {slip.partition(' ')[0]}; write " in said
    assert " VIEW " in said


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
