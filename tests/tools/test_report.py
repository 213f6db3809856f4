"""`report`: each expert's findings as a sentence with its source and scores."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgym import UserError
from medgym.gold_tool import Gold
from medgym.imaging.study import Study
from medgym.regions import Region
from medgym.testing import check_tool
from medgym.tool import Tool, ToolArgs, ToolResult, ViewNumber, load_tools
from medgym.tools.report import level
from medgym.workspace import Workspace

Made = Callable[[str], Path]


def a_workspace() -> Workspace:
    pixels = np.random.default_rng(0).integers(0, 60, (100, 100))
    pixels[30:60, 20:60] += 180
    return Workspace([Study(pixels.astype(np.uint8), (0.5, 0.5))], view_size=64)


def report(experts: str) -> Tool:
    (tool,) = load_tools([f"report?experts={experts}"])
    return tool


def test_probabilities_are_words() -> None:
    scores = (0.0, 0.19, 0.2, 0.49, 0.5, 0.89, 0.9, 1.0)
    assert [level(score) for score in scores] == [
        "no sign", "no sign", "small possibility", "small possibility", "likely", "likely",
        "definite", "definite",
    ]  # fmt: skip


def test_experts_with_gold_say_what_may_be_told() -> None:
    tool = report("classify?backend=oracle%26labels=cyst|detect?backend=oracle|segment")
    assert (tool.fidelity, tool.needs_gold, tool.resources) == ("oracle", True, {})
    workspace = a_workspace()
    gold = Gold((Region(label="nodule", box_px=(18, 28, 62, 62)),), 3)
    result = tool.with_gold(tool.parse({"view": 0}), workspace, gold)
    lines = result.text.splitlines()
    assert lines[0] == "classify (oracle): nodule 1.00 (definite), cyst 0.00 (no sign)."
    assert lines[1] == "detect (oracle): nodule 1.00 (definite) at [180, 280, 620, 620]."
    assert lines[2].startswith("segment: Area ")
    assert [each["source"] for each in result.data["experts"]] == [
        "classify (oracle)", "detect (oracle)", "segment",
    ]  # fmt: skip
    hidden = Gold((), 3, frozenset({"place", "label"}))
    untold = tool.with_gold(tool.parse({"view": 0}), workspace, hidden).text
    assert "nodule" not in untold
    assert untold.count("not told here") == 2


@pytest.mark.parametrize(
    "findings", [3, "x", ["nodule"], [{"label": "x"}], [{"label": "x", "score": 1, "box_px": [1]}]]
)
def test_a_strangers_record_of_another_form_is_told_by_its_text(findings: Any) -> None:
    class Stranger(Tool):
        """Say something."""

        name = "stranger"

        class Args(ToolArgs):
            """A view."""

            view: ViewNumber

        def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
            return ToolResult("A word.", data={"findings": findings})

    tool: Any = report("classify?backend=oracle")
    tool._experts = (Stranger(),)
    assert tool(tool.parse({"view": 0}), a_workspace()).text == "stranger: A word."


def test_experts_with_models_are_asked_in_batches(made: Made) -> None:
    tool = report(
        f"classify?model={made('vit')}|detect?model={made('yolos')}%26threshold=0%26top=1"
    )
    assert (tool.fidelity, tool.needs_gold, tool.batch_size) == ("predicted", False, 8)
    args = [tool.parse({"view": 0} | more) for more in ({}, {"box": [0, 0, 500, 500]})]
    args.append(tool.parse({"view": 9}))
    calls = [(each, a_workspace()) for each in args]
    first, second, third = tool.run_many(calls)
    assert isinstance(first, ToolResult)
    assert isinstance(second, ToolResult)
    assert str(third) == "there is no view 9; expected 0 to 0"
    for result, (one, workspace) in zip((first, second), calls[:2], strict=True):
        assert result.text == tool(one, workspace).text
    assert first.text.splitlines()[0].startswith("classify (vit): ")
    assert "(small possibility)" in first.text
    check_tool(tool, calls=1)


def test_what_an_expert_cannot_say_is_said(made: Made) -> None:
    tool = report(f"classify?model={made('clip')}|segment")
    text = tool(tool.parse({"view": 0}), a_workspace()).text
    assert text.startswith("classify (clip) cannot say: classify: expected labels")
    assert "\nsegment: Area" in text


@pytest.mark.parametrize(
    ("experts", "said"),
    [(" ", "report has no experts"), ("retrieve", "report cannot ask retrieve"),
     ("report?experts=segment", "report cannot ask report"), ("detekt", "did you mean 'detect'"),
     ("detect", "detect has no model")],
)  # fmt: skip
def test_experts_that_cannot_be_asked_are_named(experts: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        report(experts)


class Slow(Tool):
    """Say something, in time or not."""

    name = "slow"
    deadline_s: float = 0.1

    class Args(ToolArgs):
        """A view."""

        view: ViewNumber

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        time.sleep(0.3)
        workspace.add(workspace.look(0, (0, 0, 50, 50), enlarge=True, made_by="slow"))
        return ToolResult("Done.")


class SlowGold(Slow):
    """Say something of gold, in time or not."""

    needs_gold = True

    def with_gold(self, args: Any, workspace: Workspace, gold: Gold) -> ToolResult:
        return self(args, workspace)


class Hungry(Slow):
    """Need more memory than there is."""

    name = "hungry"
    deadline_s = 60.0
    memory_mb = 64.0

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        return ToolResult(str(len(b"x" * 2**28)))


def test_an_expert_has_its_own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"slow": Slow, "slow-gold": SlowGold, "hungry": Hungry}
    monkeypatch.setattr(
        "medgym.tools.report.load_tools",
        lambda specs: [kinds[specs[0]]()] if specs[0] in kinds else load_tools(specs),
    )
    for first in ("slow", "slow-gold"):
        experts = [first, "hungry", "segment"] if first == "slow" else [first, "segment"]
        tool = report("|".join(experts))
        own = sum(kinds[each].deadline_s for each in experts[:-1])
        assert tool.deadline_s == own + 600 + 10
        room = a_workspace()
        args, gold = tool.parse({"view": 0}), Gold()
        began = time.monotonic()
        result = tool.with_gold(args, room, gold) if tool.needs_gold else tool(args, room)
        lines = result.text.splitlines()
        assert lines[0].startswith("slow cannot say: slow took longer than 0.1 s and was stopped")
        if "hungry" in experts:
            assert lines[1].startswith("hungry cannot say: hungry needed more than 64 MB of memory")
        assert lines[-1].startswith("segment: Area ")
        time.sleep(max(0.0, began + 0.5 - time.monotonic()))
        assert len(room.views) == 1  # what was late wrote into a workspace of its own


def test_it_needs_experts() -> None:
    with pytest.raises(UserError, match="report has no experts; fix: write report"):
        load_tools(["report"])


def test_every_expert_hears_one_call(made: Made) -> None:
    tool = report("segment|segment")
    result = tool(tool.parse({"view": 0, "box": [100, 200, 700, 700]}), a_workspace())
    one, other = result.text.splitlines()
    assert one == other
    found: list[Any] = result.data["experts"]
    assert found[0]["box_px"] == [20, 30, 60, 60]
