"""Gold for tools: what the question asks is left out, and only the episode hands it over."""

from typing import Any

import numpy as np
import pytest

from medgym.case import Case
from medgym.cases import Mask, Region, open_cases
from medgym.env import MedEnv
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.gold_tool import Aspect, Gold
from medgym.imaging.study import ImageRef
from medgym.messages import render_call
from medgym.tool import Tool, ToolArgs, ToolResult, load_tools
from medgym.workspace import Workspace

REGIONS = (
    Region(label="Lung nodule", box_px=(1, 2, 5, 6), mask=Mask.of(np.ones((8, 8), bool))),
    Region(label="nodule", box_px=(4, 4, 7, 7)),
)

MIDDLES = [(2.5, 3.5, 3.5, 4.5), (5.0, 5.0, 6.0, 6.0)]
"""All that is told of `REGIONS` where a size is asked."""


def asks(question: str, answer: str, *options: str, **fields: Any) -> Gold:
    kind = {"answer_type": "choice"} if options else {}
    return Gold.of(
        Case(
            id="a/train/0", images=(ImageRef(uri="a:0"),), question=question, answer=answer,
            options=options, regions=REGIONS, group="g", source="a", split="train",
            **(kind | fields),
        )
    )  # fmt: skip


def told(gold: Gold) -> set[Aspect]:
    aspects: tuple[Aspect, ...] = ("label", "place", "size", "count")
    return {what for what in aspects if gold.tells(what)}


@pytest.mark.parametrize(
    ("gold", "may"),
    [
        (asks("What is it?", "A tumour"), {"place", "size", "count"}),
        (asks("Which finding is it?", "Nodule", "Nodule", "Mass"), {"place", "size", "count"}),
        (asks("How large is it?", "3 mm", "3 mm", "9 mm"), {"label", "place", "count"}),
        (asks("How large is the nodule?", "nodules of 3 mm"), {"place", "count"}),
        (asks("Which side is affected?", "left", "left", "right"), {"label", "size", "count"}),
        (asks("Where is it?", "in the apex"), {"label", "size", "count"}),
        (asks("Mark the finding.", "", answer_type="region"), {"label", "size", "count"}),
        (asks("How many nodules are there?", "2", answer_type="number"), {"place", "size"}),
        (asks("Is there a mass?", "yes", answer_type="closed"), {"place", "size"}),
        (asks("Is it on the left?", "yes", answer_type="closed"), {"label", "size", "count"}),
        (asks("Is it larger than 3 mm?", "no", "yes", "no"), {"label", "place", "count"}),
        (asks("Is it malignant?", "no", answer_type="closed"), {"place", "size"}),
        (asks("What is seen?", "Nothing", "Nothing", "Mass"), {"place", "size"}),
        (asks("Mean value in HU?", "40", answer_type="number"), {"label", "place", "count"}),
        (asks("Which scan shows it?", "the first"), {"label", "size", "count"}),
        (asks("What is the side of it?", "OD"), {"size", "count"}),
        (asks("What is the small lesion?", "A growth"), {"place", "count"}),
        (asks("Which large abnormality is it?", "x", "a growth", "y"), {"place", "count"}),
        (asks("Which eye is affected?", "OS"), {"label", "size", "count"}),
        (asks("Is it there?", "x", "unilateral", "ipsilateral"), {"label", "size", "count"}),
        (
            asks("How many millimetres is it?", "3", answer_type="number"),
            {"label", "place", "count"},
        ),
        (asks("How many pixels?", "x", "3 px", "9 px"), {"label", "place", "count"}),
        (asks("What fraction does it fill?", "1/3", "1/3", "2/3"), set()),
        (asks("Grade of it?", "T2", "T1", "T2"), set()),
        (asks("How is it?", "3mm", "3mm", "9mm"), {"label", "place", "count"}),
        (asks("What shape has it?", "oval", "oval", "square"), {"label", "place", "count"}),
        (asks("How far is it from the disc?", "3 discs"), {"label", "size", "count"}),
        (asks("What signal has it?", "high"), {"label", "place", "count"}),
        (asks("How does it look?", "x", "hyperdense", "hypo-dense"), {"label", "place", "count"}),
        (asks("Describe it.", "A nodule.", answer_type="report"), set()),
        (asks("¿Qué es?", "Un nódulo", language="es"), set()),
    ],
)
def test_what_the_question_asks_is_not_told(gold: Gold, may: set[Aspect]) -> None:
    assert told(gold) == may
    if {"place", "count"} <= may:
        boxes = MIDDLES if not gold.tells("size") else [region.box_px for region in REGIONS]
        assert [region.box_px for region in gold.regions] == boxes
        assert gold.regions[0].mask == (REGIONS[0].mask if gold.tells("size") else None)
        labels = [region.label if gold.tells("label") else "" for region in REGIONS]
        assert [region.label for region in gold.regions] == labels
    else:
        assert gold.regions == ()


@pytest.mark.parametrize(
    ("question", "may"),
    [
        ("kind", {"place", "size", "count"}),
        ("side", {"label", "size", "count"}),
        ("presence", {"place", "size"}),
        ("size", {"label", "place", "count"}),
        ("hounsfield,look=ct-volume", {"place", "count"}),
        ("length", {"label", "place", "count"}),
        ("diagnosis", {"place", "count"}),
    ],
)
def test_a_phantom_tells_all_but_its_answer(question: str, may: set[Aspect]) -> None:
    for case in open_cases(f"phantom,question={question}:train[:4]"):
        assert told(Gold.of(case)) == may


def test_a_case_without_a_finding_tells_no_more_than_one_with() -> None:
    with_one, without = asks("Is there a mass?", "yes", answer_type="closed"), Gold()
    cases = open_cases("phantom,question=presence:train[:8]")
    found = {Gold.of(case).regions for case in cases}
    assert {len(case.regions) for case in cases} == {0, 1}
    assert found == {with_one.regions} == {without.regions}


class Outline(Tool):
    """Say where the finding is."""

    name = "outline"
    needs_gold = True
    fidelity = "oracle"

    class Args(ToolArgs):
        """Nothing."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        raise AssertionError("called without gold")

    def with_gold(self, args: Any, workspace: Workspace, gold: Gold) -> ToolResult:
        (region,) = gold.regions
        return ToolResult(f"{region.label or 'not told here'} {gold.seed}")


@pytest.mark.parametrize("deadline", [None, 60.0])
def test_an_episode_hands_gold_to_the_tool_that_needs_it(deadline: float | None) -> None:
    tool = Outline()
    tool.deadline_s = deadline
    cases = open_cases("phantom,question=kind,size=256:train[:2]")
    said = []
    for case in cases:
        episode = Rules(tools=(tool,), view_size=64).begin(case)
        message = episode.step(render_call("outline", {}))
        assert message is not None
        said.append(message.text)
    assert said == [f"not told here {Gold.of(case).seed}" for case in cases]
    assert said[0] != said[1]


def test_a_gymnasium_environment_does_too() -> None:
    env = MedEnv("phantom,question=kind,size=256:train[:1]", [Outline()], view_size=64)
    env.reset(seed=0)
    assert env.step(render_call("outline", {}))[0]["text"].startswith("not told here ")


def test_gold_stays_where_the_episode_is() -> None:
    tool = Outline()
    tool.batch_size = 8
    said = "the tool outline needs gold, and has resources"
    with pytest.raises(UserError, match=said):
        load_tools([tool])
    with pytest.raises(UserError, match=said):
        Rules(tools=(tool,))
