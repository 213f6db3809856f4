"""Two evaluations side by side, and what cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest

from medgym.errors import UserError
from medgym.evals.comparison import compare, differing_kinds
from medgym.evals.outcomes.outcome import CaseOutcome


def outcome(number: int, right: bool, **changes: object) -> CaseOutcome:
    verdict = "right" if right else "wrong"
    return CaseOutcome(
        "", f"own/test/{number}", f"hash {number}", "own", f"patient {number // 2}", "choice",
        "CT" if number % 2 else "MR", None, "en", 0, "choice", "2", "left",
        "left" if right else "right", verdict, float(right), verdict, float(right), 0.0, False,
        None, 1, 0, 0, **changes,
    )  # type: ignore[arg-type] # fmt: skip


def evaluation(share: float, seed: int, count: int = 200) -> list[CaseOutcome]:
    rng = np.random.default_rng(seed)
    return [outcome(number, bool(rng.random() < share)) for number in range(count)]


def test_a_better_policy_wins() -> None:
    (found,) = compare(evaluation(0.4, 0), evaluation(0.8, 1))
    assert found.difference.outcome == "win"
    assert found.difference.interval.groups == 100
    assert found.second.value - found.first.value == pytest.approx(found.difference.interval.value)
    assert len(found.gained) - len(found.lost) == pytest.approx(
        200 * found.difference.interval.value
    )
    kinds = {(kind, value) for kind, value, _, _ in differing_kinds(found)}
    assert kinds == {("modality", "CT"), ("modality", "MR")}


def test_the_order_of_cases_does_not_matter() -> None:
    first, second = evaluation(0.5, 0), evaluation(0.6, 1)
    assert compare(first, second) == compare(first, second[::-1])
    assert compare(first, second) == compare(first[::-1], second)


def test_the_difference_of_one_group_has_ends_that_json_can_hold() -> None:
    (found,) = compare([outcome(0, False)], [outcome(0, True)])
    interval = found.difference.interval
    assert (interval.value, interval.low, interval.high) == (1.0, -1.0, 1.0)
    assert found.difference.outcome == "tie"


def test_a_policy_ties_with_itself() -> None:
    (found,) = compare(evaluation(0.5, 0), evaluation(0.5, 0))
    assert (found.difference.outcome, found.difference.permutation) == ("tie", 1.0)


def test_several_benchmarks_are_adjusted_together() -> None:
    one = [replace(each, benchmark=name) for name in "ab" for each in evaluation(0.5, 0)]
    two = [replace(each, benchmark=name) for name in "ab" for each in evaluation(0.65, 1)]
    found = compare(one, two)
    assert [each.benchmark for each in found] == ["a", "b"]
    for each in found:
        assert each.adjusted == pytest.approx(min(1.0, 2 * each.difference.permutation))


def test_cases_that_one_could_not_play_are_left_out_and_counted() -> None:
    second = evaluation(0.8, 1)
    second[3] = replace(second[3], verdict="failed", failure="policy: cut")
    (found,) = compare(evaluation(0.4, 0), second)
    assert (found.left_out, found.difference.interval.n) == (1, 199)


def test_the_lenient_reading_is_compared_where_asked() -> None:
    first = [replace(each, reading="1") for each in evaluation(0.0, 0)]
    second = [replace(each, reading="1", lenient_verdict="right") for each in evaluation(0.0, 1)]
    assert compare(first, second)[0].difference.outcome == "tie"
    assert compare(first, second, lenient=True)[0].difference.outcome == "win"


def test_other_cases_are_refused() -> None:
    with pytest.raises(UserError, match=r"has 200 episodes and .* 150, of which 150 .*; fix:"):
        compare(evaluation(0.5, 0), evaluation(0.5, 0, 150))


def test_a_case_that_changed_is_refused() -> None:
    second = evaluation(0.5, 0)
    second[7] = replace(second[7], case_hash="another")
    with pytest.raises(UserError, match=r"'own/test/7' is not the same in .*; fix:"):
        compare(evaluation(0.5, 0), second)


def test_other_scorers_are_refused() -> None:
    second = [replace(each, version="3") for each in evaluation(0.5, 0)]
    with pytest.raises(UserError, match=r"by choice 2 in .* and by choice 3 .*; fix: run medgym"):
        compare(evaluation(0.5, 0), second)


def test_other_readings_are_refused_where_they_count() -> None:
    first, second = (
        [replace(each, reading=version) for each in evaluation(0.5, 0)] for version in "12"
    )
    older = evaluation(0.5, 0)  # of before there were versions: of any
    assert compare(first, second)
    assert compare(older, older)
    assert compare(first, first, lenient=True)
    for pair in ((first, second), (first, older), (older, older)):
        with pytest.raises(UserError, match=r"not known that one version .* fix: run medgym sco"):
            compare(*pair, lenient=True)


@pytest.mark.parametrize("count", [0, 2])
def test_no_case_and_an_episode_twice_are_refused(count: int) -> None:
    with pytest.raises(UserError, match="fix:"):
        compare([outcome(1, True)], [outcome(1, True)] * count)


def test_runs_of_other_benchmarks_are_refused_by_their_names() -> None:
    plain = [outcome(0, True)]
    arms = [replace(each, benchmark=name) for name in ("on", "off") for each in plain]
    with pytest.raises(UserError, match=r"is of no suite and .* of off, on, which"):
        compare(plain, arms)


def test_other_pixels_under_the_same_path_are_another_case() -> None:
    first = [outcome(number, True, shown=f"{number}") for number in range(4)]
    second = [replace(each, shown="exchanged" if each.case[-1] in "13" else each.shown)
              for each in first]  # fmt: skip
    with pytest.raises(UserError, match="showed other images of 2 of 4 cases, such as 'own/test/1"):
        compare(first, second)
    (found,) = compare(first, second, same_views=False)
    assert found.unknown == 4, "views of another size say nothing of the images"
    (found,) = compare(first, [replace(first[0], shown=None), *first[1:]])
    assert found.unknown == 1
    (found,) = compare(first, first)
    assert found.unknown == 0


def test_the_first_case_that_only_one_has_is_named() -> None:
    """One that only the first has, before any that only the second has."""
    whole = evaluation(0.5, 0)
    ordered = sorted(whole, key=lambda each: each.key)
    with pytest.raises(UserError, match=f"only one has is {ordered[-1].case!r}"):
        compare(ordered[1:], ordered[:-1])
    with pytest.raises(UserError, match=f"only one has is {ordered[0].case!r}"):
        compare(ordered[:-1], ordered[1:])
