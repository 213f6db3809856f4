"""The groups of a stored run: which episodes they are of, and what has none."""

from dataclasses import replace
from pathlib import Path

import pytest

from medgym.cases import Case
from medgym.errors import UserError
from medgym.rollout.record import joined
from medgym.storage.run_folder import RunFolder
from medgym.storage.trajectories import TrajectoryStore
from medgym.train.data.preferences.stored import StoredGroups

from .conftest import group_of, played, stored


def test_groups_are_whole_wherever_their_members_lie(
    some_cases: list[Case], tmp_path: Path
) -> None:
    mixed = sorted((t for case in some_cases for t in group_of(case)), key=lambda t: -t.member)
    groups = dict(StoredGroups(stored(tmp_path / "run", mixed)).groups())
    assert {key.case_id for key in groups} == {case.id for case in some_cases}
    for episodes in groups.values():
        assert [each.member for each in episodes] == [0, 1, 2, 3, 4, 5]


def test_of_a_training_they_are_those_that_grpo_rolled_out(
    some_cases: list[Case], tmp_path: Path
) -> None:
    run = stored(tmp_path / "run", [played(some_cases[0], 0), played(some_cases[0], 1)])
    rolled = [played(some_cases[1], n, version=f"policy@{n // 2}") for n in range(4)]
    TrajectoryStore(run / "trajectories" / "grpo").write(rolled)
    found = [(key.case_id, key.version) for key, _ in StoredGroups(run).groups()]
    assert found == [(some_cases[1].id, "policy@0"), (some_cases[1].id, "policy@1")]


def test_failed_episodes_are_in_no_group(some_cases: list[Case], tmp_path: Path) -> None:
    group = group_of(some_cases[0])
    group[0] = replace(group[0], failure="tool: down", reward=None)
    ((_, episodes),) = StoredGroups(stored(tmp_path / "run", group)).groups()
    assert [each.member for each in episodes] == [1, 2, 3, 4, 5]


def test_what_has_no_groups_is_one_line(some_cases: list[Case], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run folder"):
        StoredGroups(tmp_path / "none")
    RunFolder.create(tmp_path / "empty", {})
    with pytest.raises(UserError, match="there are no trajectories in"):
        StoredGroups(tmp_path / "empty")
    part = played(some_cases[0], 0)
    whole = joined([("attending", 0, 1.0, part)], policy="consultation:x")
    with pytest.raises(UserError, match="holds consultations, and pairs are of one policy"):
        StoredGroups(stored(tmp_path / "team", [whole, whole]))
    pairs = stored(tmp_path / "pairs", [part])
    (pairs / "pairs.jsonl").touch()
    with pytest.raises(UserError, match="holds pairs, not a run"):
        StoredGroups(pairs)
