"""Numbers written as texts: the call is carried out and counted; any other text is refused."""

import math
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case
from medgym.episode import Episode, Rules
from medgym.errors import ToolError
from medgym.imaging.study import ImageRef, Study
from medgym.messages import render_call
from medgym.metrics.looking import metrics
from medgym.numbers_as_text import parsed
from medgym.rollout.record import faults_of, record
from medgym.rubric import load_rubric
from medgym.tool import BoxArgument, Tool, ToolArgs, ToolResult, ViewNumber, load_tools
from medgym.workspace import Workspace


class Feel(Tool):
    """Feel."""

    name = "feel"

    class Args(ToolArgs):
        """What numbers there can be."""

        view: ViewNumber
        box: BoxArgument | None = None
        points: list[list[float]] | None = None
        times: int | None = None
        title: str = ""
        either: float | str = 0.0

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        return ToolResult(args.model_dump_json())


@pytest.mark.parametrize(
    ("given", "read", "as_text"),
    [
        ({"view": 1}, {"view": 1}, ()),
        ({"view": "1"}, {"view": 1}, ("view",)),
        ({"view": " -0 "}, {"view": 0}, ("view",)),
        ({"view": 0, "box": ["1", 2, "120.5", "1e2"]}, {"box": [1, 2, 120.5, 100]}, ("box",)),
        ({"view": "0", "points": [["1", "2"], [3, "4"]]}, {"points": [[1, 2], [3, 4]]},
         ("view", "points")),
        ({"view": 0, "times": "3"}, {"times": 3}, ("times",)),
        ({"view": 0, "title": "3", "either": "4"}, {"title": "3", "either": "4"}, ()),
    ],
)  # fmt: skip
def test_a_number_as_text_is_read(
    given: dict[str, Any], read: dict[str, Any], as_text: tuple[str, ...]
) -> None:
    before = repr(given)
    args, names = parsed(Feel(), given)
    assert names == as_text
    assert {key: getattr(args, key) for key in read} == read
    assert repr(given) == before


@pytest.mark.parametrize(
    "given",
    [
        {"view": "first"}, {"view": ""}, {"view": "1.5"}, {"view": "0x1"}, {"view": "१"},
        {"view": "9" * 30}, {"view": "-1"}, {"view": 0, "box": "0,0,1,1"},
        {"view": 0, "box": ["left", "0", "1", "1"]}, {"view": 0, "box": ["1"] * 3},
        {"view": 0, "box": ["nan", 0, 1, 1]}, {"view": 0, "box": ["1e999", 0, 1, 1]},
        {"view": 0, "box": ["0", 10**400, 1, 1]}, {"view": ["0"]}, {"view": "0", "no": 1},
    ],
)  # fmt: skip
def test_any_other_text_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ToolError, match=r"^feel: .*expected") as error:
        parsed(Feel(), given)
    assert "\n" not in str(error.value)


def begin(case: Case) -> Episode:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    rules = Rules(tools=load_tools(["zoom"]), rubric=load_rubric("outcome"), view_size=16)
    return rules.begin(case, [Study(pixels)])


def test_such_a_call_is_carried_out_and_counted() -> None:
    case = Case(
        id="a/train/0", images=(ImageRef(uri="a:0"),), question="Which?", answer="yes",
        group="g", source="a", split="train",
    )  # fmt: skip
    box = [100, 200, 500, 700]
    plain, texts = begin(case), begin(case)
    said = plain.step(render_call("zoom", {"view": 0, "box": box}))
    same = texts.step(render_call("zoom", {"view": "0", "box": [str(side) for side in box]}))
    assert said is not None
    assert same is not None
    assert (same.text, same.images[0].sha256) == (said.text, said.images[0].sha256)
    (outcome,) = texts.turns[0].outcomes
    assert (outcome.failed, outcome.as_text) == (False, ("view", "box"))
    assert outcome.data == plain.turns[0].outcomes[0].data
    assert (faults_of(plain.turns[0]), faults_of(texts.turns[0])) == ([], ["text:zoom"])
    kept = []
    for episode in (plain, texts):
        episode.step("<answer>yes</answer>")
        kept.append(record(case, episode, policy="p", seed=0, member=0, kind="text"))
    assert kept[0].reward == kept[1].reward is not None
    assert [each.failed_calls for each in kept] == [0, 0]
    found = metrics([(case, each) for each in kept])
    assert math.isclose(found["episode/numbers_as_text"], 0.5)
    assert "episode/numbers_as_text" not in metrics([(case, kept[0])])
    assert found["errors/E3"] == 0


def test_a_call_that_is_nested_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(700):
        deep = [deep]
    with pytest.raises(ToolError, match=r"Input should be a valid"):
        parsed(Feel(), {"view": "0", "box": deep})
