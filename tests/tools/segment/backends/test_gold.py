"""`segment?backend=oracle` and `noised`: gold, as it is and at a stated Dice; what is not told."""

from typing import Any

import numpy as np
import pytest

from medgym.case import Case
from medgym.cases import Mask, Region
from medgym.errors import UserError
from medgym.gold_tool import Gold
from medgym.imaging.study import ImageRef, Study
from medgym.tool import ToolResult, load_tools
from medgym.tools.segment.backends.noised import spoilt
from medgym.workspace import Workspace


def masks() -> tuple[Any, Any]:
    rows, columns = np.mgrid[:200, :300]
    one = ((columns - 90) / 40) ** 2 + ((rows - 80) / 25) ** 2 <= 1
    other = (abs(columns - 200) < 20) & (abs(rows - 120) < 15)
    return one, other


def region(mask: Any, label: str) -> Region:
    rows, columns = np.nonzero(mask)
    box = (float(columns.min()), float(rows.min()), columns.max() + 1.0, rows.max() + 1.0)
    return Region(label=label, box_px=box, mask=Mask.of(mask))


GOLD = Gold(
    tuple(region(mask, name) for mask, name in zip(masks(), ("cyst", "mass"), strict=True)), 7
)


def called(spec: str, gold: Gold, view: int = 0, **where: Any) -> ToolResult:
    (tool,) = load_tools([spec])
    assert tool.needs_gold
    pixels = np.random.default_rng(0).integers(0, 255, (200, 300)).astype(np.uint8)
    workspace = Workspace([Study(pixels, (0.5, 0.5))], view_size=100)
    workspace.add(workspace.look(0, (80.0, 40.0, 280.0, 180.0), enlarge=True, made_by="zoom"))
    args = tool.parse({"view": view, **where})
    result = tool.with_gold(args, workspace, gold)
    again = tool.with_gold(args, workspace, gold)
    assert (again.text, again.data) == (result.text, result.data)
    return result


def dice(result: ToolResult, gold: Any) -> float:
    mask = Mask.model_validate(dict(result.data["mask"])).array()
    return 2 * float((mask & gold).sum()) / float(mask.sum() + gold.sum())


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ({"point": [300, 400]}, 0),
        ({"box": [560, 480, 760, 720]}, 1),
        ({"points": [[660, 600], [300, 400]], "labels": [1, 0]}, 1),
        ({"scribble": [[250, 400], [350, 400]]}, 0),
        ({"text": "Mass"}, 1),
    ],
)
def test_the_oracle_gives_the_finding_that_is_meant(where: Any, meant: int) -> None:
    result = called("segment?fidelity=oracle", GOLD, **where)
    assert dice(result, masks()[meant]) == 1.0
    assert result.text.endswith("It is 100 % sure.")


def test_there_is_nothing_where_nothing_is_marked() -> None:
    result = called("segment?backend=oracle", GOLD, box=[900, 0, 1000, 100])
    assert (result.text, result.views) == ("Nothing stands out there.", ())


@pytest.mark.parametrize("stated", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
def test_noised_gold_has_the_stated_dice(stated: float) -> None:
    for gold, point in zip(masks(), ([300, 400], [666, 600]), strict=True):
        result = called(f"segment?backend=noised&dice={stated}", GOLD, point=point)
        assert dice(result, gold) == pytest.approx(stated, abs=0.01)
    whole = np.pad(masks()[0], 50)
    made = {spoilt(whole, (0, 0), (400, 300), stated, seed)[0].tobytes() for seed in range(3)}
    assert len(made) == 3


def test_a_view_of_what_the_oracle_finds_is_never_its_own_size() -> None:
    result = called("segment?backend=oracle", GOLD, view=1, box=[0, 0, 500, 500])
    assert result.views[0].box_px == (80.0, 40.0, 280.0, 180.0)


def asked(question: str, *options: str) -> Gold:
    case = Case(
        id="c", images=(ImageRef(uri="file:x.png"),), question=question, options=options,
        answer=options[0], answer_type="choice", regions=GOLD.regions, group="g", source="s",
        split="test",
    )  # fmt: skip
    return Gold.of(case)


def test_what_a_question_asks_is_not_told() -> None:
    point = {"point": [300, 400]}
    size = called(
        "segment?backend=oracle", asked("How long is the cyst?", "40 mm", "9 mm"), **point
    )
    assert (size.text, size.views) == ("Its outline is not told here.", ())
    where = called("segment?backend=oracle", asked("Where is the cyst?", "left", "right"), **point)
    assert (where.text, where.views) == ("Its outline is not told here.", ())
    kind = asked("Which lesion is it?", "cyst", "mass")
    assert (
        called("segment?backend=oracle", kind, text="cyst").text == "Its outline is not told here."
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("segment?backend=noised&dice=2", "less than or equal to 1"),
        ("segment?backend=noised&dic=0.5", "did you mean 'dice'"),
        ("segment?backend=orcale", "did you mean 'oracle'"),
        ("segment?backend=oracle&fidelity=vision", "leave one of both out"),
        ("segment?fidelity=gold", "fidelity"),
    ],
)
def test_a_wrong_spec_is_one_line(spec: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load_tools([spec])
    assert said in str(error.value)
    assert "\n" not in str(error.value)
