"""The vote of a policy with itself."""

import asyncio
from typing import Any

import pytest

from medgym.agents.consultation.majority import Majority
from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.trajectory import Trajectory, failed_trajectory, validate

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


@pytest.mark.parametrize(
    ("kind", "temperature", "votes"), [("sampled", 0.0, 1), ("sampled", 1.0, 3), ("text", 0.0, 3)]
)
def test_a_model_that_does_not_draw_votes_once(kind: Any, temperature: float, votes: int) -> None:
    member = load_policy("scripted:prior")
    member.kind = kind
    asked = []

    async def play(case: Case, policy: Policy, rules: Rules, **options: Any) -> Trajectory:
        asked.append(options["role"])
        return failed_trajectory(case, policy="x", seed=0, member=0, failure="not played")

    sampling = Sampling(temperature=temperature)
    asyncio.run(Majority(member, 3).consult(CASES[0], RULES, play, sampling, 0))
    assert len(asked) == votes
