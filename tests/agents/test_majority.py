"""The vote of a policy with itself."""

import pytest

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import load_policy
from medgym.rollout import collect
from medgym.trajectory import validate

CASES = open_cases("phantom,look=fundus,question=diagnosis:test[:60]")
RULES = Rules(view_size=64)


def test_more_votes_are_right_more_often_where_one_is_mostly_right() -> None:
    share = {}
    for votes in (1, 7):
        doctor = "scripted:specialist,specialty=ophthalmologist,accuracy=0.6"
        policy = load_policy(f"majority:{votes}:{doctor}")
        played = list(collect(CASES, policy, RULES))
        for trajectory in played:
            validate(trajectory)
            assert len(trajectory.branches) == votes
            answers = [branch.record.answer for branch in trajectory.branches]
            assert max(map(answers.count, answers)) == answers.count(trajectory.answer)
        share[votes] = sum(t.correct for t in played) / len(played)
    assert share[7] > share[1] + 0.1


@pytest.mark.parametrize("spec", ["majority:0:scripted:prior", "majority:prior", "majority:3:"])
def test_a_spec_that_cannot_be_read_says_how_it_is_written(spec: str) -> None:
    with pytest.raises(UserError):
        load_policy(spec)
