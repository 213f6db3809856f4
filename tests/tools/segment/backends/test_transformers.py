"""`segment?backend=transformers`: semantic, universal and referring models."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medgym import Tool, ToolError, load
from medgym.imaging.study import Study
from medgym.tool import ToolResult
from medgym.workspace import Workspace

Made = Callable[[str], Path]


def segmenter(made: Made, name: str) -> Tool:
    tool: Tool = load("tools", "segment")(backend="transformers", model=str(made(name)))
    return tool


def workspaces() -> list[Workspace]:
    random = np.random.default_rng(0)
    sizes = ((40, 60), (1, 1), (40, 60))
    studies = [Study(random.integers(0, 256, size).astype(np.uint8)) for size in sizes]
    return [Workspace([study], view_size=48) for study in studies]


@pytest.mark.parametrize("name", ["segformer", "mask2former", "clipseg"])
def test_a_batch_finds_what_single_calls_find(made: Made, name: str) -> None:
    tool = segmenter(made, name)
    calls = [
        (tool.parse({"view": 0, "text": text} | more), workspace)
        for workspace in workspaces()
        for text in ("Heart",)
        for more in ({}, {"box": [100, 100, 600, 600]})
    ]
    for result, (args, workspace) in zip(tool.run_many(calls), calls, strict=True):
        assert isinstance(result, ToolResult)
        alone = tool(args, workspace)
        assert alone.data.get("mask") == result.data.get("mask")
        assert alone.text == result.text
        if args.box is not None and "box_px" in result.data and workspace.studies[0].size > (9, 9):
            width, height = workspace.studies[0].size
            x0, y0, x1, y1 = result.data["box_px"]
            assert x0 >= width // 10
            assert x1 <= -(-width * 6 // 10)
            assert y0 >= height // 10
            assert y1 <= -(-height * 6 // 10)


def test_the_classes_of_one_image_do_not_overlap(made: Made) -> None:
    tool = segmenter(made, "mask2former")
    areas = 0
    for text in ("lung", "heart"):
        found = tool(tool.parse({"view": 0, "text": text}), workspaces()[0])
        areas += found.data.get("area_px", 0)
    assert areas == 40 * 60


def test_a_text_chooses_a_class_and_an_unknown_one_is_named(made: Made) -> None:
    tool = segmenter(made, "segformer")
    workspace = workspaces()[0]

    def found(text: str) -> object:
        return tool(tool.parse({"view": 0, "text": text}), workspace).data

    assert found("Left_Lung") == found("lung") == found("the left lung")
    for text in ("liver", "background"):
        with pytest.raises(ToolError, match=f"does not know {text!r}; expected text, one of left"):
            found(text)
    with pytest.raises(ToolError, match="expected text, one of left lung, heart"):
        tool(tool.parse({"view": 0, "box": [0, 0, 500, 500]}), workspace)
    other = segmenter(made, "clipseg")
    with pytest.raises(ToolError, match="expected text: what the structure is called"):
        other(other.parse({"view": 0, "box": [0, 0, 500, 500]}), workspace)
