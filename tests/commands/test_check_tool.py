"""`medgym check tool`: a line for each check, and one that says what is broken."""

import json
from typing import Any

import pytest

from medgym import registry
from medgym.cli import main
from medgym.commands import check_tool
from medgym.tool import Tool, ToolArgs, ToolResult, ViewNumber
from medgym.tool_checks.breach import CHECKS
from medgym.workspace import Workspace


class Faulty(Tool):
    """Say the size of a view."""

    name = "faulty"
    calls = 0

    class Args(ToolArgs):
        """Which view."""

        view: ViewNumber

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        self.calls += 1
        return ToolResult(f"{workspace.views[args.view].size}, call {self.calls}")


QUICK = ("--calls", "3", "--cases", "phantom:train[:1]")


def test_a_sound_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "tool", "zoom", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"pass  {check}" for check in CHECKS]


def test_a_faulty_tool(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_tool, "load_tools", lambda specs: (Faulty(),))
    assert main(["check", "tool", "faulty", *QUICK, "--json"]) == 1
    shown = capsys.readouterr()
    (found,) = json.loads(shown.out)
    verdicts = {row["check"]: row["verdict"] for row in found["checks"]}
    assert verdicts == dict.fromkeys(CHECKS, "pass") | {"arguments": "fail", "repeats": "fail"}
    assert found["passed"] is False
    assert f"in 2 of {len(CHECKS)} checks, the first: arguments; fix: " in shown.err
    assert len(shown.err.splitlines()) == 1


def test_a_tool_that_says_nothing_of_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mute(Faulty):
        __doc__ = None

    monkeypatch.setattr(check_tool, "load_tools", lambda specs: (Mute(),))
    assert main(["check", "tool", "mute", *QUICK]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fail  declaration: faulty: no docstring; it is what the policy reads"
    assert lines[-1] == "warn  memory: not tried, for a check above failed"


def test_an_unknown_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert "zoom" in registry.names("tools")
    assert main(["check", "tool", "zom"]) == 2
    assert "did you mean 'zoom'?" in capsys.readouterr().err
