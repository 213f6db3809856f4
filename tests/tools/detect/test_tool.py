"""`detect`: by a detector with classes, by one that is asked by text, and by gold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgym import Tool, ToolError, load
from medgym.case import Case
from medgym.gold_tool import Gold
from medgym.imaging.grey import Window
from medgym.imaging.study import Study
from medgym.regions import Region
from medgym.testing import check_tool
from medgym.tool import ToolResult
from medgym.workspace import Workspace

Made = Callable[[str], Path]
SIZES = ((60, 40), (1, 1), (64, 64), (200, 3))


def workspaces(view_size: int = 48) -> list[Workspace]:
    made = []
    for number, (width, height) in enumerate(SIZES):
        values = np.random.default_rng(number).integers(0, 4096, (height, width)).astype(np.uint16)
        made.append(Workspace([Study(values, window=Window(2000, 3000))], view_size=view_size))
    return made


def detect(**options: Any) -> Tool:
    tool: Tool = load("tools", "detect")(**options)
    return tool


def call(tool: Tool, workspace: Workspace, **arguments: Any) -> ToolResult:
    return tool(tool.parse({"view": 0} | arguments), workspace)


@pytest.mark.parametrize(("name", "labels"), [("yolos", ""), ("owl", "nodule;mass")])
def test_a_batch_finds_what_single_calls_find(made: Made, name: str, labels: str) -> None:
    tool = detect(model=str(made(name)), labels=labels, threshold=0.0, top=3)
    calls = [(tool.parse({"view": 0}), workspace) for workspace in workspaces()]
    calls += [(tool.parse({"view": 0, "box": [200, 200, 900, 800]}), calls[0][1])]
    for result, (args, workspace) in zip(tool.run_many(calls), calls, strict=True):
        assert isinstance(result, ToolResult)
        alone = tool(args, workspace)
        assert result.text == alone.text
        findings = zip(result.data["findings"], alone.data["findings"], strict=True)
        for one, other in findings:
            assert one["label"] == other["label"]
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)
            assert one["box_px"] == pytest.approx(other["box_px"], abs=0.02)


def test_what_is_found_does_not_depend_on_the_size_of_views(made: Made) -> None:
    tool = detect(model=str(made("yolos")), threshold=0.0)
    for small, large in zip(workspaces(24), workspaces(300), strict=True):
        assert call(tool, small).data == call(tool, large).data


def test_the_text_numbers_findings_in_the_view_and_data_has_original_pixels(made: Made) -> None:
    tool = detect(model=str(made("yolos")), threshold=0.0, top=2)
    workspace = workspaces()[2]
    result = call(tool, workspace)
    first = result.data["findings"][0]
    x0, y0, x1, y1 = (round(edge * 1000 / 64) for edge in first["box_px"])
    line = result.text.splitlines()[0]
    assert line == f"1. {first['label']} {first['score']:.2f} at [{x0}, {y0}, {x1}, {y1}]"
    assert len(result.text.splitlines()) == 2
    (view,) = result.views
    assert np.asarray(view.picture)[y0 * 48 // 1000, (x0 + x1) // 2 * 48 // 1000].tolist() == [
        0,
        255,
        0,
    ]
    assert workspace.add(view).box_px == (0, 0, 64, 64)


def test_labels_choose_and_unknown_ones_are_named(made: Made) -> None:
    tool = detect(model=str(made("yolos")), threshold=0.0, top=100)
    workspace = workspaces()[0]
    found = {each["label"] for each in call(tool, workspace).data["findings"]}
    label = min(found)
    only = call(tool, workspace, labels=[label.upper()]).data["findings"]
    assert {each["label"] for each in only} == {label}
    with pytest.raises(ToolError, match="does not know 'liver'; expected some of nodule, mass"):
        call(tool, workspace, labels=["liver"])
    by_text = detect(model=str(made("owl")), threshold=0.0)
    with pytest.raises(ToolError, match="expected labels"):
        call(by_text, workspace)
    found = {each["label"] for each in call(by_text, workspace, labels=["cyst"]).data["findings"]}
    assert found == {"cyst"}
    long = "x" * 80  # more tokens than such a model reads
    assert call(by_text, workspace, labels=[long]).data["findings"]


def test_nothing_above_the_threshold_is_said(made: Made) -> None:
    tool = detect(model=str(made("yolos")), threshold=1.0)
    result = call(tool, workspaces()[0])
    assert result.text == "Nothing found with a score of 1 or more."
    assert result.views == ()


def test_a_detector_keeps_the_contract(made: Made) -> None:
    check_tool(detect(model=str(made("yolos")), threshold=0.0, top=2), calls=1)


NODULE = Region(label="nodule", box_px=(6, 4, 30, 20))
MASS = Region(label="mass", box_px=(40, 30, 50, 40))


def with_gold(gold: Gold, backend: str = "oracle", **arguments: Any) -> ToolResult:
    tool = detect(backend=backend)
    assert tool.needs_gold
    args = tool.parse({"view": 0} | arguments)
    return tool.with_gold(args, workspaces()[0], gold)


def test_the_oracle_tells_gold_where_it_is() -> None:
    gold = Gold((NODULE, MASS))
    result = with_gold(gold)
    assert result.text == (
        "1. nodule 1.00 at [100, 100, 500, 500]\n2. mass 1.00 at [667, 750, 833, 1000]"
    )
    assert result.data["findings"][0]["box_px"] == [6, 4, 30, 20]
    assert len(result.views) == 1
    assert with_gold(gold, labels=["Mass"]).text == "1. mass 1.00 at [667, 750, 833, 1000]"
    half = with_gold(gold, box=[0, 0, 500, 1000])
    assert [each["label"] for each in half.data["findings"]] == ["nodule"]


def test_the_oracle_never_tells_what_the_question_asks() -> None:
    blank = Gold((NODULE.model_copy(update={"label": ""}),), 0, frozenset({"label"}))
    said = with_gold(blank, labels=["mass"]).text
    assert said == "1. finding 1.00 at [100, 100, 500, 500]\nThe label is not told here."
    size = with_gold(Gold((NODULE,), 0, frozenset({"size"})))
    assert size.text == "1. nodule 1.00 around [300, 300]\nThe size is not told here."
    assert size.views == ()
    for hidden in ("place", "count"):
        for backend in ("oracle", "noised"):
            result = with_gold(Gold((), 0, frozenset({hidden})), backend)
            assert result.text == "What there is, and where, is not told here."


@pytest.mark.parametrize("backend", ["oracle", "noised"])
def test_a_case_of_kind_is_told_without_kinds(backend: str) -> None:
    case = Case.model_validate(
        {
            "id": "s/train/1", "images": [{"uri": "data:,"}], "question": "What kind is it?",
            "options": ["nodule", "mass"], "answer": "nodule", "answer_type": "choice",
            "regions": [NODULE.model_dump()], "source": "s", "split": "train", "group": "g",
        }
    )  # fmt: skip
    result = with_gold(Gold.of(case), backend)
    assert "nodule" not in str((result.text, result.data))
