"""Whatever a policy writes to the four tools that ship, on whatever image: no step raises."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case
from medgym.episode import Rules
from medgym.imaging.study import ImageRef, Study, Window
from medgym.messages import render_answer, render_call
from medgym.tool import load_tools
from medgym.workspace import Coordinates

TOOLS = ("zoom", "crop", "segment", "retrieve")
NAN, INF = float("nan"), float("inf")

CASE = Case(
    id="odd/test/1",
    images=(ImageRef(uri="file:/none.png"),),
    question="What?",
    answer="a",
    group="g",
    source="odd",
    split="test",
)


def grey(width: int, height: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)


def blob(side: int) -> Any:
    rows, columns = np.mgrid[:side, :side]
    return np.where((rows - side / 2) ** 2 + (columns - side / 2) ** 2 < side, 200, 20)


STUDIES = {
    "one pixel": Study(grey(1, 1)),
    "a sliver": Study(grey(1, 300)),
    "infinite spacing": Study(blob(64).astype(np.uint8), (INF, INF)),
    "uneven spacing": Study(blob(64).astype(np.uint8), (1e-4, 100.0)),
    "16 bits": Study(blob(64).astype(np.float32) * 257, (NAN, 1.0), window=Window(3e4, 1e-6)),
}

BOXES: list[Any] = [
    [0, 0, 1000, 1000], [0, 0, 1e-9, 1e-9], [999.999, 999.999, 1000, 1000], [500, 500, 500, 500],
    [1000, 1000, 0, 0], [-1, 0, 5, 5], [0, 0, 1e308, 1e308], [-1e308, 0, 1e308, 1], [-0.0, 0, 1, 1],
    [0, 0, 10**400, 1], [0, 0, True, 1], ["0", 0, 1, 1], [None] * 4, [[0]] * 4, [0] * 3, [0] * 5,
    [0] * 100_000, [], {}, "box", None, 5, [0, 0, 5e-324, 5e-324], [0, 0, 1, 1000],
]  # fmt: skip

POINTS: list[Any] = [
    [0, 0], [1000, 1000], [0, 1000], [500, 500], [1e308, 0], [-1e-9, 0], [5e-324, 5e-324],
    [10**400, 0], [None, 0], [0], [0, 0, 0], "point",
]  # fmt: skip

VIEWS: list[Any] = [-1, 99, 10**30, -(10**30), 1.0, 0.5, True, "0", None, [], {}]

QUERIES: list[Any] = [
    "", " ", "lesion", "x" * 16_000, "\x00", "\ud800", "\U0010ffff" * 100, "a " * 8_000, "é" * 9,
    "../../etc/passwd", "%s%n{0}", None, 5, [], {}, "\u202e\u2028", "<tool_call>",
]  # fmt: skip


def written(name: str, arguments: str) -> str:
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


RAW = [
    "", "x" * 10_000_000, "<tool_call>" * 100_000, "[" * 100_000, "\ud800" * 100,
    written("zoom", "[" * 100_000), written("zoom", '{"view":' * 5_000),
    written("zoom", '{"view": 0, "view": 1, "box": [0, 0, 5, 5]}'),
    written("zoom", '{"view": ' + "9" * 5_000 + ', "box": [0, 0, 5, 5]}'),
    written("segment", '{"view": 0, "point": [' + "9" * 5_000 + ", 0]}"),
    written("zoom", '{"view": 0, "box": [NaN, 0, 5, 5]}'),
    written("segment", '{"view": 0, "point": [Infinity, -Infinity]}'),
    written("crop", '{"view": 0, "box": [1e999, 0, 5, 5]}'),
    written("retrieve", '{"query": "\\ud800\\u0000"}'),
    written("zoom", "null"), written("zoom", "[]"), written("zoom", '"x"'), written("zoom", ""),
    written("\\u0000", "{}"), written("x" * 100_000, "{}"), written("__class__", "{}"),
    render_answer("A") + written("zoom", '{"view": 0, "box": [0, 0, 5, 5]}'),
    written("zoom", '{"view": 0, "box": [0, 0, 5, 5]}') * 5,
    written("segment", '{"view": 0, "box": [0, 0, 1000, 1000]}') * 4,
    written("zoom", json.dumps({f"k{i}": i for i in range(2_000)})),
    written("zoom", json.dumps({"view": {"__proto__": {"a": [1]}}, "box": {"0": 0}})),
]  # fmt: skip


def actions() -> Iterator[str]:
    for box, name in product(BOXES, ("zoom", "crop", "segment")):
        yield written(name, json.dumps({"view": 0, "box": box}))
    for point in POINTS:
        yield written("segment", json.dumps({"view": 0, "point": point}))
    for view, name in product(VIEWS, ("zoom", "crop", "segment")):
        yield written(name, json.dumps({"view": view, "box": [0, 0, 500, 500]}))
    yield written("segment", '{"view": 0, "box": [0, 0, 500, 500], "point": [1, 1]}')
    for query in QUERIES:
        yield written("retrieve", json.dumps({"query": query}))
    yield from RAW


@pytest.mark.parametrize("name", STUDIES)
def test_no_hostile_action_raises(name: str) -> None:
    """Each action in an episode of its own after a zoom, by turns in either kind of coordinates."""
    kinds: tuple[Coordinates, ...] = ("thousandths", "pixel")
    rules = [
        Rules(tools=load_tools(TOOLS), view_size=64, coordinates=kind, max_turns=3)
        for kind in kinds
    ]
    look = render_call("zoom", {"view": 0, "box": [0, 0, 1, 1]})
    for number, action in enumerate(actions()):
        episode = rules[number % 2].begin(CASE, [STUDIES[name]])
        episode.step(look)
        said = episode.step(action)
        assert said is not None, number
        assert said.text.encode()
        assert all(max(part.size) <= 64 for part in said.images)
