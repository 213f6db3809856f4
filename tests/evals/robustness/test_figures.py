"""Figures of variants, against values worked out by hand."""

from collections.abc import Mapping

import pytest

from medgym.cases import Case
from medgym.evals.outcomes.outcome import CaseOutcome
from medgym.evals.robustness.corruption_error import corruption_errors
from medgym.evals.robustness.figures import Marks, PairedCases, adjusted, compared
from medgym.evals.robustness.variants import CLEAN, Variant

OPTIONS = ("banded", "granular")
FIRST = Variant(CLEAN)


def outcome(case: str, right: bool, answer: str | None = "A", **fields: object) -> CaseOutcome:
    given: dict[str, object] = {
        "benchmark": "b", "case": case, "case_hash": "", "source": "s", "group": case.split("~")[0],
        "answer_type": "choice", "modality": "CT", "body_part": None, "language": "en",
        "member": 0, "scorer": "choice", "version": "3", "gold": "banded", "answer": answer,
        "verdict": "right" if right else "wrong", "score": 0.0, "lenient_verdict": "wrong",
        "lenient_score": 0.0, "reward": None, "looked": False, "hit": None, "turns": 1,
        "calls": 0, "tokens": 0,
    }  # fmt: skip
    return CaseOutcome(**(given | fields))  # type: ignore[arg-type]


def case(name: str, options: tuple[str, ...] = OPTIONS) -> Case:
    return Case(
        id=name, images=(), question="?", options=options, answer="banded", answer_type="choice",
        group=name, source="s", split="test",
    )  # fmt: skip


def outcomes(rights: Mapping[str, bool], ending: str = "") -> list[CaseOutcome]:
    return [outcome(f"{name}{ending}", right) for name, right in rights.items()]


def test_answers_stay_the_same_by_their_text_and_not_by_their_letter() -> None:
    clean = [outcome("1", True), outcome("2", True), outcome("3", False, None)]
    every = PairedCases.of(clean)
    before = every.marks(FIRST, clean, [case(name) for name in "123"])
    variant = Variant("options")
    turned = [case(f"{name}~options", OPTIONS[::-1]) for name in "123"]
    changed = [
        outcome("1~options", True, "B"), outcome("2~options", False, "A"),
        outcome("3~options", True, "B"),
    ]  # fmt: skip
    found = compared(variant, every, before, every.marks(variant, changed, turned), unfit=4)
    assert found is not None
    assert (found.same.value, found.same.n) == (0.5, 2)  # the third was not answered before
    assert found.accuracy.value == found.clean.value == pytest.approx(2 / 3)
    assert found.difference.interval.value == 0
    assert found.as_dict()["unfit"] == 4


def test_a_variant_is_compared_on_its_own_cases_and_failed_ones_do_not_count() -> None:
    clean = outcomes({"1": True, "2": True, "3": False, "4": False})
    every = PairedCases.of(clean)
    variant = Variant("jpeg", 3)
    changed = [
        outcome("1~jpeg-3", True), outcome("2~jpeg-3", False),
        outcome("3~jpeg-3", False, verdict="failed"),
    ]  # fmt: skip
    marks = every.marks(variant, changed)
    found = compared(variant, every, every.marks(FIRST, clean), marks, unfit=0)
    assert found is not None
    assert (found.clean.value, found.accuracy.value, found.accuracy.n) == (1.0, 0.5, 2)
    none = every.marks(variant, [])
    assert compared(variant, every, every.marks(FIRST, clean), none, unfit=4) is None


def test_p_is_adjusted_over_the_variants() -> None:
    clean = outcomes({str(n): True for n in range(8)})
    every = PairedCases.of(clean)
    figures = []
    for level in (1, 2, 3):
        variant = Variant("jpeg", level)
        changed = outcomes({str(n): False for n in range(8)}, f"~{variant}")
        marks = every.marks(variant, changed)
        found = compared(variant, every, every.marks(FIRST, clean), marks, unfit=0)
        assert found is not None
        figures.append(found)
    p = figures[0].difference.permutation
    assert [each.adjusted for each in adjusted(figures)] == pytest.approx([3 * p] * 3)


def test_be_and_rbe_are_ratios_of_errors_over_severities() -> None:
    names = "0123456789"

    def marks(every: PairedCases, right: int, variant: Variant) -> object:
        ending = "" if variant == FIRST else f"~{variant}"
        rights = {name: int(name) < right for name in names}
        return every.marks(variant, outcomes(rights, ending))

    every = PairedCases.of(outcomes(dict.fromkeys(names, True)))
    low, high = Variant("jpeg", 1), Variant("jpeg", 5)
    # The policy: clean error 0.1, then 0.2 and 0.4. The reference: 0.2, then 0.5 and 0.7.
    own = [marks(every, right, v) for right, v in ((9, FIRST), (8, low), (6, high))]
    other = [marks(every, right, v) for right, v in ((8, FIRST), (5, low), (3, high))]
    row, mean = corruption_errors(
        every.units,
        own[0],
        {"jpeg": own[1:]},
        (other[0], {"jpeg": other[1:]}),  # type: ignore[arg-type, dict-item]
    )
    assert row.be is not None
    assert row.rbe is not None
    assert row.drop.value == pytest.approx(0.3 - 0.1)
    assert row.be.value == pytest.approx(0.3 / 0.6)
    assert row.rbe.value == pytest.approx(0.2 / 0.4)
    assert row.be.low < 0.5 < row.be.high
    assert (mean.name, mean.be) == ("mean", row.be)
    (alone, _) = corruption_errors(every.units, own[0], {"jpeg": own[1:]})  # type: ignore[arg-type, dict-item]
    assert (alone.drop, alone.be, alone.rbe) == (row.drop, None, None)


def test_a_reference_without_errors_gives_no_ratio() -> None:
    every = PairedCases.of(outcomes({"1": True, "2": True}))
    right = every.marks(FIRST, outcomes({"1": True, "2": True}))
    row, mean = corruption_errors(every.units, right, {"jpeg": [right]}, (right, {"jpeg": [right]}))
    for each in (row, mean):
        assert each.as_dict()["BE"] == {
            "value": None, "low": None, "high": None, "n": 2, "groups": 2
        }  # fmt: skip


def test_a_reference_that_loses_nothing_gives_no_ratio_of_losses() -> None:
    names = [str(number) for number in range(20)]

    def mark(right: int, variant: Variant) -> Marks:
        ending = "" if variant == FIRST else f"~{variant}"
        first = 0 if variant == FIRST else 3  # other cases, so that resampled means differ
        rights = {name: first <= at < first + right for at, name in enumerate(names)}
        return every.marks(variant, outcomes(rights, ending))

    every = PairedCases.of(outcomes(dict.fromkeys(names, True)))
    levels = [Variant("jpeg", level) for level in (1, 2, 3, 4, 5)]
    own = mark(10, FIRST), {"jpeg": [mark(8, level) for level in levels]}
    for after in ((7, 6, 5, 4, 3), (8, 7, 6, 5, 4)):  # as before in the mean, then better than it
        other = (
            mark(5, FIRST),
            {"jpeg": [mark(right, level) for right, level in zip(after, levels, strict=True)]},
        )
        for row in corruption_errors(every.units, *own, other):
            found = row.as_dict()
            assert found["rBE"]["value"] is found["rBE"]["low"] is None
            assert 0 < found["BE"]["low"] < found["BE"]["value"] < found["BE"]["high"]
    # It loses on these cases, but on other cases it might not: nothing bounds the ratio.
    other = mark(5, FIRST), {"jpeg": [mark(4, level) for level in levels]}
    for row in corruption_errors(every.units, *own, other):
        found = row.as_dict()
        assert found["rBE"]["value"] == pytest.approx(2.0)
        assert found["rBE"]["low"] is None
