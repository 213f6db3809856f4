"""Credit by turns: each token has the advantage of its turn, on TRL's own scale."""

from dataclasses import replace
from statistics import stdev
from typing import Any

import pytest
import torch

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.metrics.credit import Tree
from medgym.metrics.recorded_tokens import read_nodes
from medgym.rubric import Rubric, Term
from medgym.train.grpo.credit import EPS, by_token, by_turn, jobs_of
from medgym.train.grpo.trainer import LookingTrainer
from medgym.trajectory import Fork, Node, Trajectory, hash_ids


def episode(*replies: str, reward: float, turn: int | None = None) -> Trajectory:
    """An episode whose replies have two tokens each and the environment's three."""
    nodes = [Node(-1, "user", "question", (1, 2))]
    for place, reply in enumerate(replies):
        ids = (10 + place, 20 + sum(map(ord, reply)))
        nodes.append(Node(len(nodes) - 1, "assistant", reply, ids, (1, 1), (-1.0, -1.0)))
        nodes.append(Node(len(nodes) - 1, "tool", f"after {reply}", (3, 4, 5), (0, 0, 0)))
    fork = None if turn is None else Fork(0, turn, 2 * turn + 1, "prefix")
    return Trajectory(
        "case", "p", 0, 0, "sampled", tuple(nodes[:-1]), (99,), reward=reward, fork=fork
    )


GROUP = [episode("look", "right", reward=1.0), episode("guess", reward=0.0)]
BRANCHES = [episode("look", "wrong", reward=0.0, turn=1), episode("look", "ok", reward=1.0, turn=1)]


def test_the_advantages_of_turns_are_on_the_scale_of_episodes() -> None:
    tree = Tree([*GROUP, *BRANCHES])
    # After `look` two of three were right; `look` was one of two draws of the question.
    plain = [[2 / 3 - 1 / 3, 1 - 2 / 3], [-1 / 3]]
    assert by_turn([tree], [[0, 1]], 2, "none") == [pytest.approx(each) for each in plain]
    spread = stdev([1.0, 0.0, 0.0, 1.0]) + EPS
    scaled = [pytest.approx([value / spread for value in each]) for each in plain]
    assert by_turn([tree], [[0, 1]], 2, "group") == scaled
    other = Tree([episode("x", reward=2.0), episode("y", reward=4.0)])
    whole = stdev([1.0, 0.0, 0.0, 1.0, 2.0, 4.0]) + EPS
    found = by_turn([tree, other], [[0, 2], [3, 4]], 5, "batch")
    assert found[1] == []  # it trains nothing
    assert found[2] == pytest.approx([-1 / 3 / whole])
    assert found[4] == pytest.approx([1 / whole])


def test_a_group_that_earned_the_same_is_not_blown_up() -> None:
    group = [episode("a", "b", reward=1.0), episode("a", "c", reward=1.0)]
    assert by_turn([Tree(group)], [[0, 1]], 2, "group") == [[0.0, 0.0], [0.0, 0.0]]
    branched = Tree([*group, episode("a", "d", reward=0.0, turn=1)])
    assert max(abs(v) for v in by_turn([branched], [[0, 1]], 2, "group")[0]) < 1


def test_the_tokens_of_a_turn_have_its_advantage_and_all_others_none() -> None:
    rows = by_token(GROUP, [[0.5, -2.0], []], 9)
    assert rows.tolist() == [[0.5, 0.5, 0, 0, 0, -2.0, -2.0, 0, 0], [0.0] * 9]


def test_a_shared_state_is_played_from_once() -> None:
    group = [episode("a", "b", reward=1.0), episode("a", "c", reward=0.0), GROUP[1]]
    (case,) = open_cases("phantom,look=ct,question=kind:train[:1]")
    pairs = [(case, replace(each, nodes=_hashed(each.nodes))) for each in group]
    jobs, owners = jobs_of([[0, 1], [2]], pairs, 3)
    assert owners == [0, 0, 0]
    assert [job.member for job in jobs] == [0, 1, 2]
    assert {job.resume.fork.turn for job in jobs if job.resume} == {1}
    late = [(case, replace(each, faults=("late:zoom",))) for case, each in pairs]
    assert jobs_of([[0, 1], [2]], late, 3) == ([], [])


def _hashed(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The nodes as a sampler would have left them."""
    made = []
    for place, node in enumerate(nodes):
        before = [token for each in nodes[:place] for token in each.token_ids]
        prompt_hash = hash_ids(before) if node.role == "assistant" else ""
        made.append(replace(node, loss_mask=node.loss_mask or (0, 0), prompt_hash=prompt_hash))
    return tuple(made)


class Seen(LookingTrainer):
    """Keeps what it was given to learn from, and by whom it was played."""

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        self.made = super()._generate_and_score_completions(inputs)
        self.seen = list(self._watch.trajectories)
        return self.made


def rules(turns: int) -> Rules:
    """Rules that reward replies by chance, of which random replies earn unequally."""
    term = Term("uneven", 1.0, lambda _, e: sum(ord(c) for t in e.turns for c in t.reply) % 7 / 7)
    return Rules(view_size=64, max_turns=turns, rubric=Rubric("uneven", (term,)))


@pytest.fixture
def trained(make_trainer: Any) -> Any:
    def train(branches: int, turns: int) -> Any:
        trainer = make_trainer(Seen, rules=rules(turns), max_steps=1)
        trainer.credit_branches = branches
        trainer.train()
        return trainer

    return train


def test_training_gives_each_turn_its_own_advantage(trained: Any) -> None:
    trainer = trained(2, 3)
    made, (logged, *_) = trainer.made, trainer.state.log_history
    assert logged["credit/branches"] == 2 * 2 * 4  # after two turns of four episodes, two each
    assert logged["credit/failed"] == 0
    assert made["advantages"].shape == made["completion_ids"].shape
    different = 0
    for row, trajectory in zip(made["advantages"], trainer.seen, strict=True):
        at, values = 0, []
        for node in read_nodes(trajectory)[1:]:
            own = row[at : at + len(node.token_ids)]
            assert len(own.unique()) == 1
            values.append(float(own[0]))
            at += len(node.token_ids)
        assert not row[at:].any()
        assert values[1::2] == [0.0] * (len(values) // 2)  # the environment's words
        different += len(set(values[::2])) > 1
        assert trajectory.fork is None
    assert different
    assert logged["grad_norm"] > 0


def test_an_episode_of_one_turn_has_the_advantage_that_it_has_without(trained: Any) -> None:
    by_episode, by_turns = trained(0, 1).made, trained(2, 1).made
    assert by_episode["advantages"].dim() == 1
    mask = by_turns["completion_mask"].bool()
    expected = by_episode["advantages"].unsqueeze(1).expand_as(mask)[mask]
    assert expected.abs().max() > 0
    assert torch.allclose(by_turns["advantages"][mask], expected, atol=1e-5)


def test_groups_that_are_spread_over_processes_are_refused(make_trainer: Any) -> None:
    trainer = make_trainer(rules=rules(2))
    trainer.credit_branches = 2
    trainer.model.train()
    with pytest.raises(UserError, match="spread over processes"):
        trainer.credit_turns([(None, None)] * 3, [False] * 3, rules(2))
