"""`segment?backend=sam2`: from checkpoints with random weights, with and without memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgym import Tool, ToolError, load
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import Study
from medgym.testing import PlainVolume, check_tool
from medgym.tool import ToolResult
from medgym.workspace import Workspace

Made = Callable[[str], Path]
PROMPTS: tuple[dict[str, Any], ...] = (
    {"box": [100, 100, 800, 800]},
    {"point": [500, 500]},
    {"box": [100, 100, 800, 800], "points": [[500, 500], [150, 700]], "labels": [1, 0]},
    {"scribble": [[200, 200], [500, 500], [600, 400]]},
)


def sam2(made: Made, name: str = "sam2") -> Tool:
    tool: Tool = load("tools", "segment")(backend="sam2", model=str(made(name)))
    return tool


def workspaces() -> list[Workspace]:
    random = np.random.default_rng(0)
    sizes = ((40, 60), (3, 200))
    studies = [Study(random.integers(0, 256, size).astype(np.uint8)) for size in sizes]
    return [Workspace([study], view_size=48) for study in studies]


def a_volume() -> Workspace:
    values = np.random.default_rng(0).normal(0, 400, (7, 20, 24)).astype(np.float32)
    volume = PlainVolume(values)
    return Workspace([OpenedImage(volume, ImagePlace("axial", 3), volume.image("axial", 3))])


@pytest.mark.parametrize("name", ["sam2", "sam2_without_memory"])
def test_a_batch_finds_what_single_calls_find(made: Made, name: str) -> None:
    tool = sam2(made, name)
    assert (tool.fidelity, tool.batch_size) == ("predicted", 8)
    calls = [
        (tool.parse({"view": 0} | prompt), workspace)
        for workspace in workspaces()
        for prompt in PROMPTS
    ]
    results = tool.run_many(calls)
    for result, (args, workspace) in zip(results, calls, strict=True):
        assert isinstance(result, ToolResult)
        alone = tool(args, workspace)
        assert alone.data.get("mask") == result.data.get("mask")
        assert alone.text == result.text
    assert sum("mask" in r.data for r in results if isinstance(r, ToolResult)) > len(results) / 2


@pytest.mark.parametrize("name", ["sam2", "sam2_without_memory"])
def test_a_structure_is_followed_through_a_volume(made: Made, name: str) -> None:
    tool = sam2(made, name)
    call = {"view": 0, "box": [100, 100, 800, 800], "through": True}
    result = tool(tool.parse(call), a_volume())
    assert result.text.startswith("Volume ")
    assert result.data["slices"][0] <= 3 <= result.data["slices"][1]
    assert result.data == tool(tool.parse(call), a_volume()).data


def test_it_is_not_asked_by_text(made: Made) -> None:
    tool = sam2(made)
    assert "text" not in tool.schema()["parameters"]["properties"]
    with pytest.raises(ToolError, match="text is not understood here"):
        tool(tool.parse({"view": 0, "text": "liver"}), workspaces()[0])


def test_it_keeps_the_contract(made: Made) -> None:
    check_tool(sam2(made, "sam2_without_memory"), calls=1)
