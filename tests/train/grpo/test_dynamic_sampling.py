"""Groups that teach nothing are exchanged for others, and what was left out is on record."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from medgym.cases import Case, open_cases
from medgym.train.data.order import OrderedCases
from medgym.train.data.records import Records
from medgym.train.grpo.dynamic_sampling import Group, SkipFlat, is_flat
from medgym.trajectory import Trajectory

CASES = list(open_cases("phantom,look=radiograph,question=kind:train[:40]"))


def group(case: Case, *rewards: float | None) -> Group:
    """The members of a case's group, of whom those without a reward failed."""
    return [
        (
            case,
            Trajectory(
                case_id=case.id,
                policy="p",
                seed=0,
                member=number,
                kind="text",
                nodes=(),
                reward=reward,
                correct=reward == 1.0,
                failure="tool: broken" if reward is None else None,
            ),
        )
        for number, reward in enumerate(rewards)
    ]


class Play:
    """Plays groups that are flat, or not, by whether their case is among `mixed`."""

    def __init__(self, mixed: Sequence[Case] = (), failed: Sequence[Case] = ()) -> None:
        self.mixed = {case.id for case in mixed}
        self.failed = {case.id for case in failed}
        self.asked: list[list[str]] = []

    def __call__(self, cases: Sequence[Case]) -> list[Group]:
        self.asked.append([case.id for case in cases])
        return [self._group(case) for case in cases]

    def _group(self, case: Case) -> Group:
        if case.id in self.failed:
            return group(case, 1.0, None)
        return group(case, 1.0, 0.0) if case.id in self.mixed else group(case, 0.0, 0.0)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def ids(groups: Sequence[Group]) -> list[str]:
    return [each[0][0].id for each in groups]


@pytest.mark.parametrize(
    ("rewards", "flat"),
    [((1.0, 1.0), True), ((0.1, 0.1), True), ((1.1, 1.0), False), ((0.0, 1.0), False)],
)
def test_a_group_is_flat_where_all_members_earned_the_same(
    rewards: tuple[float, ...], flat: bool
) -> None:
    assert is_flat(group(CASES[0], *rewards)) == flat


def test_an_episode_that_is_masked_makes_no_difference() -> None:
    (first, won), (second, cut) = group(CASES[0], 1.0, 0.0)
    mixed = [(first, won), (second, dataclasses.replace(cut, truncated=True))]
    assert not is_flat(mixed)
    assert is_flat(mixed, masked=True)


def test_groups_that_differ_are_kept_and_nothing_else_is_played(records: Records) -> None:
    play = Play()
    groups = [group(case, 0.0, 1.0) for case in CASES[:4]]
    assert SkipFlat(CASES, seed=0, records=records)(0, groups, play) == groups
    assert play.asked == []
    assert records.rows() == []


def test_a_flat_group_gives_way_to_one_that_is_not(records: Records) -> None:
    good, flat = group(CASES[0], 1.0, 0.0), group(CASES[1], 1.0, 1.0)
    play = Play(mixed=CASES)
    kept = SkipFlat(CASES, seed=0, records=records)(3, [good, flat], play)
    assert len(kept) == 2
    assert kept[0] is good
    assert not is_flat(kept[1])
    assert [len(asked) for asked in play.asked] == [1]
    assert not set(play.asked[0]) & {CASES[0].id, CASES[1].id}
    (row,) = records.rows()
    assert row == {
        "stage": "grpo",
        "step": 3,
        "case": CASES[1].id,
        "why": "all right",
        "rewards": [1.0, 1.0],
    }


def test_no_more_is_played_than_allowed_and_flat_groups_fill_up(records: Records) -> None:
    groups = [group(case, 0.0, 0.0) for case in CASES[:4]]
    play = Play()
    kept = SkipFlat(CASES, seed=0, most=3, records=records)(0, groups, play)
    assert kept == groups
    assert sum(map(len, play.asked)) == 8
    assert len(records.rows()) == 8
    assert {row["why"] for row in records.rows()} == {"all wrong"}


def test_a_further_group_with_a_failed_member_is_left_out(records: Records) -> None:
    play = Play(failed=CASES)
    kept = SkipFlat(CASES, seed=0, most=2, records=records)(0, [group(CASES[0], 0.0, 0.0)], play)
    assert ids(kept) == [CASES[0].id]
    assert [row["why"] for row in records.rows()] == ["a member failed"]


def test_what_a_step_draws_depends_on_seed_and_step_alone() -> None:
    def asked(seed: int, step: int) -> list[list[str]]:
        play = Play()
        groups = [group(case, 0.0, 0.0) for case in CASES[8:10]]
        SkipFlat(CASES, seed=seed)(step, groups, play)
        return play.asked

    assert asked(0, 5) == asked(0, 5)
    assert asked(0, 5) != asked(0, 6)
    assert asked(0, 5) != asked(1, 5)


def test_further_cases_are_near_in_the_order_of_training() -> None:
    cases = list(open_cases("phantom,look=radiograph,question=kind:train[:400]"))
    play = Play()
    SkipFlat(cases, seed=0, most=10)(0, [group(cases[200], 0.0, 0.0)], play)
    places = [[case.id for case in cases].index(i) for asked in play.asked for i in asked]
    assert len(places) == 9
    assert all(200 - 16 <= place < 200 + 16 for place in places)


def test_a_case_that_comes_twice_has_the_neighbours_of_its_own_place() -> None:
    cases = list(open_cases("phantom,look=radiograph,question=kind:train[:400]"))
    order = OrderedCases(cases, [*range(300), 0, *range(300, 400)])
    select = SkipFlat(order, seed=0, most=10)
    for place, near in ((0, range(32)), (300, range(284, 317))):
        play = Play()
        select(0, [group(order[place], 0.0, 0.0)], play)
        indices = {case.id: index for index, case in enumerate(cases)}
        found = [indices[i] for asked in play.asked for i in asked]
        assert len(found) == 9
        assert set(found) <= set(near)


def test_steps_that_are_played_again_are_forgotten(records: Records) -> None:
    records.add("demonstrations", [{"case": "a", "why": "wrong"}])
    records.add("grpo", [{"step": step, "case": "b", "why": "all wrong"} for step in range(4)])
    records.forget("grpo", after=1)
    assert [row.get("step") for row in records.rows()] == [None, 0, 1]
    records.forget("demonstrations")
    assert [row["stage"] for row in records.rows()] == ["grpo", "grpo"]
