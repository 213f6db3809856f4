"""Cohen's kappa, its interval over groups, and where there is none."""

import pytest

from medgym.evals.statistics.agreement import agreement


def test_kappa_of_a_textbook() -> None:
    # 20 both yes, 5 yes and no, 10 no and yes, 15 both no: 0.7 observed, 0.5 by chance.
    one = ["yes"] * 25 + ["no"] * 25
    two = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = agreement(one, two, range(50))
    assert found is not None
    assert found.share.value == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.low is not None
    assert found.high is not None
    # The large-sample standard error is 0.126.
    assert found.low == pytest.approx(0.4 - 1.96 * 0.126, abs=0.03)
    assert found.high == pytest.approx(0.4 + 1.96 * 0.126, abs=0.03)
    assert found.table == {"yes": {"yes": 20, "no": 5}, "no": {"yes": 10, "no": 15}}
    clustered = agreement(one, two, [i // 10 for i in range(50)])
    assert clustered is not None
    assert clustered.low is not None
    assert clustered.low < found.low  # fewer independent ones


def test_several_labels_and_merged_ones() -> None:
    found = agreement(["a", "b", "c", "c"], ["a", "b", "c", "d"], range(4), merged={"d": "c"})
    assert found is not None
    assert (found.kappa, found.share.value) == (1.0, 1.0)
    assert found.table["c"] == {"c": 1, "d": 1}
    # Four that agree do not show that all would; by chance 0.375 do.
    assert found.low == pytest.approx(1 - (1 - found.share.low) / (1 - 0.375))
    assert found.high == 1


def test_where_there_is_no_kappa_or_no_interval() -> None:
    assert agreement([], [], []) is None
    always = agreement(["a", "a"], ["a", "a"], range(2))
    assert always is not None
    assert (always.kappa, always.low, always.share.value) == (None, None, 1.0)
    constant = agreement(["a", "b"], ["a", "a"], range(2))
    assert constant is not None
    assert constant.kappa == 0
    one_group = agreement(["a", "b"], ["a", "b"], ["g", "g"])
    assert one_group is not None
    assert (one_group.kappa, one_group.low) == (1.0, None)
