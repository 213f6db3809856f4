"""The check passes phantom studies as they are and catches each planted fault."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case
from medgym.errors import UserError
from medgym.sources.phantom.balance import CheckReport
from medgym.sources.phantom.check import check_phantoms
from medgym.sources.phantom.source import PhantomSource
from medgym.sources.phantom.studies import check, stack
from medgym.sources.phantom.studies.plan import Finding, StudyPlan
from medgym.sources.phantom.studies.settings import STUDY_LOOKS
from medgym.sources.phantom.studies.textures import KINDS, StudyGrid, tile


def some(count: int = 6, look: str = "ct-volume", **options: str) -> Sequence[Case]:
    if look != "slide":
        options = {"size": "128", "depth": "8", **options}
    return PhantomSource(look=look, **options).cases("test")[:count]


def failed(report: CheckReport) -> str:
    return " | ".join(row.check for row in report.rows if row.verdict == "fail")


@pytest.fixture
def fresh() -> Iterator[None]:
    stack.image_values.cache_clear()
    yield
    stack.image_values.cache_clear()


@pytest.mark.parametrize("look", STUDY_LOOKS)
@pytest.mark.parametrize("difficulty", ["easy", "hard"])
def test_studies_pass(look: str, difficulty: str) -> None:
    questions = STUDY_LOOKS[look].questions
    cases = some(len(questions), look, question="+".join(questions), difficulty=difficulty)
    seen: list[int] = []
    report = check_phantoms(cases, probe=False, progress=lambda done, total: seen.append(done))
    assert report.passed
    assert seen[-1] == len(cases)
    assert any(row.check.startswith("first view 64 x 64") for row in report.rows)


def test_the_probe_guesses_from_afar_and_sees_close_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check._Seen, "_compare", lambda *args: None)
    monkeypatch.setattr(check, "study_gold_faults", lambda *args: ())
    report = check_phantoms(some(170, "ultrasound-clip"), view_sizes=(64,))
    rows = [row for row in report.rows if row.check.startswith("a probe")]
    assert [row.verdict for row in rows] == ["pass", "pass"]
    assert all("close view 100.0%" in row.figure for row in rows)


@pytest.mark.parametrize(
    ("other", "caught"),
    [
        (np.tile([0, 1], (4, 2)), "the values of the first view are alike"),
        (np.tile([[0, 0, 1, 1]], (4, 1)), "whole image 64 x 64"),
        (np.eye(4), "whole image 32 x 32"),
    ],
    ids=["columns", "squares", "sum"],
)
def test_a_texture_that_is_uneven_is_caught(
    monkeypatch: pytest.MonkeyPatch, fresh: None, other: Any, caught: str
) -> None:
    def uneven(kind: str, grid: StudyGrid) -> Any:
        return other if kind == "columnar" else tile(kind, grid)

    monkeypatch.setattr(stack, "tile", uneven)
    assert caught in failed(check_phantoms(some(1), probe=False))


def test_an_uneven_background_beside_the_lesion_is_caught(
    monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.setattr(stack, "_even_out", lambda *args: None)
    said = failed(check_phantoms(some(3, "ultrasound-clip", difficulty="hard"), probe=False))
    assert "slab of three 64 x 64" in said
    assert "whole image" not in said


def test_a_lesion_off_the_grid_is_caught(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    add = stack._add

    def shifted(values: stack.Values, plan: StudyPlan, finding: Finding) -> None:
        add(values[1:, 1:], plan, finding)

    monkeypatch.setattr(stack, "_add", shifted)
    said = failed(check_phantoms(some(1), probe=False))
    assert "whole image 64 x 64" in said
    assert "gold agrees" in said


def test_a_view_size_that_leaks_is_caught() -> None:
    assert "whole image 48 x 48" in failed(check_phantoms(some(1), view_sizes=(48,), probe=False))


def of(**update: Any) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        first, *others = case.regions
        return case.model_copy(update={"regions": (first.model_copy(update=update), *others)})

    return change


def mislabelled(case: Case) -> Case:
    return of(label=KINDS[KINDS.index(case.regions[0].label) - 1])(case)


def answered(answer: str) -> Callable[[Case], Case]:
    return lambda case: case.model_copy(update={"answer": answer})


@pytest.mark.parametrize(
    ("fix", "question", "fault"),
    [
        (of(box_px=(8, 8, 16, 16)), "kind", "a box is not that of its mask"),
        (mislabelled, "side", "and looks otherwise"),
        (of(count=8, index=0), "kind", "the lesion is not on image"),
        (of(count=1), "kind", "has a lesion without a region"),
        (of(plane=None, index=None), "kind", "does not say on which images"),
        (lambda case: case.model_copy(update={"regions": ()}), "kind", "without a region"),
        (answered("9"), "slice", "the answer is '9' and should be"),
        (answered("1"), "hounsfield", "and should be"),
        (answered("5"), "count", "and should be"),
        (answered("gone"), "change", "and should be"),
    ],
)
def test_false_gold_is_caught(fix: Callable[[Case], Case], question: str, fault: str) -> None:
    cases = [fix(case) for case in some(2, question=question)]
    rows = check_phantoms(cases, view_sizes=(64,), probe=False).rows
    row = next(row for row in rows if row.check.startswith("gold"))
    assert row.verdict == "fail"
    assert fault in row.fix


def test_studies_and_single_images_are_checked_apart() -> None:
    cases = [*some(1), *PhantomSource(look="ct").cases("test")[:1]]
    with pytest.raises(UserError, match="is no phantom of a single image"):
        check_phantoms(cases, probe=False)
    other = [some(1)[0].model_copy(update={"source": "mine"})]
    with pytest.raises(UserError, match="is no phantom"):
        check_phantoms(other, probe=False)


def test_a_kind_that_goes_with_the_side_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"left": "granular", "right": "nodular"}
    plan_of = check.study_of

    def rigged(ref: Any) -> StudyPlan:
        plan = plan_of(ref)
        (finding,) = plan.findings
        return replace(plan, findings=(replace(finding, kind=kinds[plan.side(finding)]),))

    monkeypatch.setattr(check, "study_of", rigged)
    monkeypatch.setattr(check._Seen, "_compare", lambda *args: None)
    monkeypatch.setattr(check, "study_gold_faults", lambda *args: ())
    said = failed(check_phantoms(some(96), probe=False))
    assert "the kind does not go with the side" in said
