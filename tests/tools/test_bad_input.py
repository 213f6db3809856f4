"""Random calls of every tool: an observation that says what was wrong, and the same one each time.

By default there are a few hundred. `MEDGYM_RANDOM_CALLS=100000 pytest --timeout=0` on this file
makes as many.
"""

import hashlib
import math
import os
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from medgym import names
from medgym.cases import Mask, Region
from medgym.errors import ToolError
from medgym.gold_tool import Gold
from medgym.imaging.grey import Window
from medgym.imaging.opened import ImagePlace, OpenedImage
from medgym.imaging.study import Study
from medgym.numbers_as_text import parsed
from medgym.testing import PlainVolume
from medgym.tool import Tool, load_tools
from medgym.tool_call import limited
from medgym.tool_checks.drawn_calls import draw_call
from medgym.workspace import Workspace

CALLS = int(os.environ.get("MEDGYM_RANDOM_CALLS", "160"))

SPECS = {
    "classify": "classify?backend=oracle",
    "detect": "detect?backend=oracle",
    "report": "report?experts=classify?backend=oracle",
}
"""Of tools that need a model, a back end without one."""

NUMBERS: list[Any] = [
    0, -1, 7, 10**400, -(10**30), 1e308, -1e308, 5e-324, -0.0, 1e-9, 499.9, 1000, 1000.0001,
    math.nan, math.inf, -math.inf, "0", "12.5", " 3 ", "-1", "1e999", "nan", "left", "", None, True,
    [1], {"x": 1}, 2**63, "१२",
]  # fmt: skip

BOXES: list[Any] = [
    [600, 600, 200, 200], [0, 500, 1000, 400], [-5, -5, 5, 5], [900, 900, 1100, 1100],
    [math.nan, 0, 5, 5], [0, 0, math.inf, 5], [0, 0, 1e308, 1e308], [500, 500, 500, 500],
    [0, 0, 0, 1000], [0, 0, 1e-12, 1e-12], ["1", "2", "300", "400.5"], ["a", "b", "c", "d"],
    [0, 0, 1, 1, 1], [0, 0, 1], [], "0,0,5,5", None, 5, [[0, 0], [5, 5]], [10**400, 0, 1, 1],
    [0, 0, 1000, 1000], [-0.0, 0, 1, 1], [None] * 4, [True] * 4,
]  # fmt: skip

WORDS: list[Any] = [
    "axial", "coronal", "sagittal", "no such plane", "lung", "bone", "CLAHE", "no such preset", "",
    "x" * 5000, "\x00", "\ud800", "0", "{}", "__import__('os')", "1/0", "9**9**9", 3, None, [],
]  # fmt: skip


def grey(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def workspaces() -> list[Workspace]:
    """Small images of every kind, each with a view that was looked at more closely."""
    volume = PlainVolume(np.random.default_rng(1).normal(0, 400, (5, 8, 6)).astype(np.float32))
    start = ImagePlace("axial", 1)
    deep = np.random.default_rng(2).integers(0, 2**16, (20, 17)).astype(np.uint16)
    opened: list[list[Study | OpenedImage]] = [
        [Study(grey(1, 1))],
        [Study(grey(24, 20, 3), (0.5, 0.25)), Study(grey(18, 22))],
        [Study(deep, (1.0, 1.0), window=Window(2.0**15, 2.0**16))],
        [OpenedImage(volume, start, volume.image(start.plane, start.index))],
    ]
    made = []
    for number, images in enumerate(opened):
        workspace = Workspace(
            images, view_size=24, coordinates=("thousandths", "pixel")[number % 2]
        )
        width, height = workspace.studies[0].size
        box_px = (0.0, 0.0, max(1.0, width // 2), max(1.0, height // 2))
        workspace.add(workspace.look(0, box_px, enlarge=True, made_by="zoom"))
        made.append(workspace)
    return made


def gold() -> Gold:
    mask = np.zeros((24, 20), bool)
    mask[3:9, 4:11] = True
    region = Region(label="nodule", box_px=(4, 3, 11, 9), mask=Mask.of(mask))
    return Gold((region, Region(label="", box_px=(0, 0, 1, 1))), 5)


def drawn(tool: Tool, chance: random.Random, workspace: Workspace) -> dict[str, Any]:
    """A call as the schema has it, about every second one spoilt in one place or several."""
    parameters = tool.schema()["parameters"]
    call = draw_call(parameters, chance, workspace)
    for name in list(call):
        if chance.random() < 0.25:
            value = call[name]
            odd = BOXES if isinstance(value, list) else WORDS if isinstance(value, str) else NUMBERS
            call[name] = chance.choice(odd)
    return call


def outcome(tool: Tool, call: Mapping[str, Any], workspace: Workspace) -> tuple[bool, str]:
    """Whether a call was carried out, and what it said and showed."""
    try:
        args, as_text = parsed(tool, call)
        result = limited(tool, args, workspace, *((gold(),) if tool.needs_gold else ()))
    except ToolError as error:
        return False, str(error)
    shown = [
        (view.image, view.box_px, view.place, hashlib.sha256(view.picture.tobytes()).hexdigest())
        for view in result.views
    ]
    return True, f"{result.text} {shown} {dict(result.data)} {as_text}"


def tools() -> list[Tool]:
    made = load_tools([SPECS.get(name, name) for name in names("tools")])
    for tool in made:
        tool.deadline_s = None  # no thread for each of so many calls
    return list(made)


def test_no_call_raises_or_is_answered_in_two_ways() -> None:
    chance, offered, rooms = random.Random(0), tools(), workspaces()
    done: Counter[tuple[str, bool]] = Counter()
    for number in range(CALLS):
        tool = offered[number % len(offered)]
        workspace = chance.choice(rooms)
        call = drawn(tool, chance, workspace)
        carried_out, said = outcome(tool, call, workspace)
        assert outcome(tool, call, workspace) == (carried_out, said), (tool.name, call)
        if not carried_out:
            assert said.strip(), (tool.name, call)
            assert "\n" not in said, (tool.name, call, said)
            assert len(said) < 1000, (tool.name, call, said)
        done[tool.name, carried_out] += 1
    assert {name for name, carried_out in done if not carried_out} == {t.name for t in offered}
    assert len({name for name, carried_out in done if carried_out}) > len(offered) / 2


@pytest.mark.parametrize("box", list(BOXES[:10]), ids=repr)
def test_a_box_that_is_none_says_what_was_expected(box: Any) -> None:
    workspace = workspaces()[1]
    for tool in tools():
        if "box" not in tool.Args.model_fields or tool.name == "calculate":
            continue
        given = {"view": 0, "box": box} | _needed(tool)
        carried_out, said = outcome(tool, given, workspace)
        assert carried_out or "expected" in said, (tool.name, said)


def _needed(tool: Tool) -> dict[str, Any]:
    """The other arguments that a tool requires."""
    return {
        name: "length"
        for name, field in tool.Args.model_fields.items()
        if field.is_required() and name not in ("view", "box")
    }
