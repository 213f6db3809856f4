"""Oracle looking shows the gold regions, and says nothing of them."""

import numpy as np
import pytest

from medgym.agents.scripted.policy import gold_of
from medgym.cases import Case, Region, open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.evals.looking.oracle import MOST_REGIONS, shown_regions, window, with_oracle_looks
from medgym.imaging.study import Box, ImageRef, Study
from medgym.messages import render_answer, render_call
from medgym.metrics.looking import hit
from medgym.rollout.record import record

CASE = Case(
    id="a/train/0", images=(ImageRef(uri="a:0"),), question="?", answer="lung", group="g",
    source="a", split="train", regions=(Region(label="tumour", box_px=(20, 20, 40, 40)),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("region", "size", "view_size", "expected"),
    [
        ((40, 40, 60, 60), (100, 100), 100, (38, 38, 63, 63)),
        ((0, 0, 4, 4), (100, 100), 100, (0, 0, 25, 25)),
        ((95, 50, 99, 52), (100, 100), 100, (75, 38, 100, 63)),
        ((40, 40, 60, 60), (200, 100), 200, (25, 38, 75, 63)),
        ((10, 40, 45, 60), (100, 100), 100, (2, 25, 52, 75)),
        ((0, 0, 90, 10), (100, 100), 100, (0, 0, 100, 100)),
        ((5000, 5000, 5100, 5100), (20000, 20000), 448, (4425, 4425, 5675, 5675)),
        ((5000, 5000, 8000, 8000), (20000, 20000), 448, (4000, 4000, 9000, 9000)),
    ],
)
def test_the_window_is_a_quarter_unless_that_shows_too_little(
    region: Box, size: tuple[int, int], view_size: int, expected: Box
) -> None:
    found = window(region, size, view_size)
    assert found[0] <= region[0]
    assert found[1] <= region[1]
    assert found[2] >= region[2]
    assert found[3] >= region[3]
    assert found == pytest.approx(expected, abs=1)


AWAY = render_call("zoom", {"view": 0, "box": [0, 0, 300, 300]})


@pytest.mark.parametrize("first", [AWAY, render_answer("A"), "I see nothing."])
def test_the_first_observation_is_the_ideal_look_and_no_text_says_where_it_is(first: str) -> None:
    cases = [
        c
        for c in open_cases("phantom,look=radiograph,question=kind+side+size:test[:18]")
        if c.regions
    ]
    rules = Rules.for_cases("phantom:test")
    said = set()
    for case in cases:
        plain, given = (r.begin(case) for r in (rules, with_oracle_looks(rules)))
        assert [each.text for each in given.messages] == [each.text for each in plain.messages]
        shown = given.step(first)
        assert shown is not None
        assert (given.answer, given.done, given.score) == (None, False, None)
        view = given.workspace.views[-1]
        assert shown.images[0].sha256 == given.messages[-1].images[0].sha256
        box, region = view.box_px, case.regions[0].box_px
        assert box[0] <= region[0] < region[2] <= box[2]
        assert box[1] <= region[1] < region[3] <= box[3]
        said.add(shown.text)
        given.step(render_answer(gold_of(case)))
        assert given.score is not None
        assert given.score.correct
        played = record(case, given, policy="p", seed=0, member=0, kind="text")
        assert hit(case, played)
        assert [look.tool for look in played.looks] == ["oracle"]
    assert len(said) == 1, "what is said does not depend on side, size or kind"


def test_later_looks_are_the_policys_own_and_a_call_gets_its_result() -> None:
    case = open_cases("phantom,question=kind:test[:1]")[0]
    episode = with_oracle_looks(Rules.for_cases("phantom:test")).begin(case)
    first = episode.step(AWAY + AWAY)
    assert first is not None
    assert [len(result.images) for result in first.results] == [1, 0]
    episode.step(AWAY)
    assert episode.workspace.views[-1].box_px[:2] == (0, 0)
    assert episode.workspace.views[-1].made_by == "zoom"


def test_a_region_is_shown_on_its_slice() -> None:
    case = open_cases("phantom,look=ct-volume,question=kind:test[:1]")[0]
    episode = with_oracle_looks(Rules.for_cases([case])).begin(case)
    episode.step(render_answer("A"))
    view = episode.workspace.views[1]
    assert case.regions[0].lies_on(view.plane, view.index)


def test_a_region_that_is_asked_for_is_not_shown_and_of_many_only_the_largest() -> None:
    assert shown_regions(CASE) == CASE.regions
    assert shown_regions(CASE.model_copy(update={"answer_type": "region"})) == ()
    assert shown_regions(CASE.model_copy(update={"answer": "Yes"})) == ()
    for spec in ("presence", "count", "slice", "change"):
        look = "ct" if spec == "presence" else "ct-volume"
        asked = open_cases(f"phantom,look={look},question={spec}:test[:4]")
        assert any(case.regions for case in asked)
        assert not any(map(shown_regions, asked))
    many = tuple(Region(label="x", box_px=(0, 0, 5, n)) for n in range(1, 9))
    shown = shown_regions(CASE.model_copy(update={"regions": many}))
    assert [region.box_px[3] for region in shown] == [8, 7, 6, 5][:MOST_REGIONS]


def test_a_region_outside_its_study_is_refused() -> None:
    wrong = Region(label="x", box_px=(0, 0, 5, 5), plane="axial", index=3)
    case = CASE.model_copy(update={"regions": (wrong,)})
    rules = with_oracle_looks(Rules(view_size=50))
    with pytest.raises(UserError, match=r"a region of a/train/0: .*; fix: correct regions"):
        rules.begin(case, [Study(np.zeros((100, 100), np.uint8))])
    nowhere = case.model_copy(
        update={"regions": (Region(label="x", box_px=(0, 0, 5, 5), image=7),)}
    )
    with pytest.raises(UserError, match=r"it is of no image of the case; fix: correct regions"):
        rules.begin(nowhere, [Study(np.zeros((100, 100), np.uint8))])
    with pytest.raises(UserError, match=r"fix: raise --max-turns to 2"):
        with_oracle_looks(Rules(max_turns=1))
