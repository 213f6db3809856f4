"""What a turn was worth: exact on trees made by hand, and where two looks are needed."""

import math
from collections.abc import Sequence
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgym.cases import open_cases
from medgym.episode import Episode, Rules
from medgym.messages import Calls, Message, Reply, parse_action, render_answer, render_call
from medgym.metrics.credit import Tree, TurnCredit, rows
from medgym.policy import Policy, Sampling
from medgym.rollout import collect
from medgym.rubric import Rubric, Term
from medgym.tool import load_tools
from medgym.trajectory import Fork, Node, Trajectory


def episode(*replies: str, reward: float | None, fork: Fork | None = None) -> Trajectory:
    """An episode of these replies; the environment's word depends on the reply before it."""
    nodes = [Node(-1, "user", "question")]
    for reply in replies:
        nodes.append(Node(len(nodes) - 1, "assistant", reply))
        nodes.append(Node(len(nodes) - 1, "tool", f"shown after {reply}"))
    ended = tuple(nodes[:-1])
    return Trajectory("case", "hand", 0, 0, "text", ended, reward=reward, fork=fork)


def after(turn: int) -> Fork:
    return Fork(0, turn, 2 * turn + 1, f"prefix {turn}")


def said(tree: Tree, number: int) -> list[tuple[str, float | None]]:
    return [(row.text, row.advantage) for row in tree.turns(number)]


def test_a_tree_made_by_hand() -> None:
    tree = Tree(
        [
            episode("left", "up", "A", reward=1.0),
            episode("left", "up", "B", reward=0.0),
            episode("left", "down", "B", reward=0.0),
            episode("right", "A", reward=0.2),
        ]
    )
    assert [node.text for node in tree.nodes].count("left") == 1
    assert len(tree.nodes) == 13
    assert tree.root_value == pytest.approx(0.3)
    assert said(tree, 0) == [
        ("left", pytest.approx(1 / 3 - 0.3)),
        ("up", pytest.approx(1 / 2 - 1 / 3)),
        ("A", pytest.approx(1 / 2)),
    ]
    assert said(tree, 3) == [("right", pytest.approx(-0.1)), ("A", 0.0)]
    assert [(row.turn, row.text, row.episodes) for row in tree.table()][:3] == [
        (1, "left", 3),
        (1, "right", 1),
        (2, "up", 2),
    ]
    assert tree.states() == [(0, 1), (0, 2), (2, 2), (3, 1)]


def test_branches_make_values_more_exact_and_give_nothing_above_them_more_weight() -> None:
    group = [episode("left", "A", reward=1.0), episode("right", "B", reward=0.0)]
    branches = [episode("left", end, reward=r, fork=after(1)) for end, r in (("C", 0.0),) * 3]
    assert Tree(group).root_value == 0.5
    tree = Tree([*group, *branches])
    # One of four draws after `left` was right; `left` itself was one of two draws.
    assert tree.turns(0) == [
        TurnCredit(1, "left", 4, pytest.approx(0.125), pytest.approx(0.25)),
        TurnCredit(2, "A", 1, pytest.approx(0.25), 1.0),
    ]
    assert Tree(branches).root_value == 0.0


def test_episodes_without_a_reward_do_not_count() -> None:
    failed = Trajectory("case", "hand", 0, 0, "text", (), failure="gone")
    tree = Tree([episode("a", reward=1.0), episode("b", reward=None), failed])
    assert tree.root_value == 1.0
    assert tree.turns(1) == [TurnCredit(1, "b", 1, 1.0, None)]
    assert tree.turns(1)[0].advantage is None
    assert tree.turns(2) == []
    masked = Tree([episode("a", reward=1.0), episode("b", reward=0.0)], [True, False])
    assert masked.root_value == 1.0
    assert Tree([]).root_value is None
    assert rows([failed]) == []


REPLIES = st.lists(st.sampled_from("abc"), min_size=1, max_size=4)
REWARDS = st.floats(-2, 2)


@settings(max_examples=40)
@given(st.lists(st.tuples(REPLIES, REWARDS), min_size=1, max_size=12))
def test_the_root_is_the_mean_of_the_leaves(made: list[tuple[list[str], float]]) -> None:
    # The last reply ends an episode, so it is another one than those that do not.
    tree = Tree(episode(*r[:-1], f"{r[-1]}.", reward=reward) for r, reward in made)
    assert tree.root_value == pytest.approx(fmean(reward for _, reward in made))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(REPLIES, REWARDS), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), REPLIES, REWARDS), max_size=8),
)
def test_the_advantages_of_a_path_add_up_to_what_it_earned_beyond_the_root(
    made: list[tuple[list[str], float]], more: list[tuple[int, int, list[str], float]]
) -> None:
    episodes = [
        episode(*replies[:-1], f"{replies[-1]}. {number}", reward=reward)
        for number, (replies, reward) in enumerate(made)
    ]
    for number, (which, turn, rest, reward) in enumerate(more):
        origin = [n.text for n in episodes[which % len(episodes)].nodes if n.role == "assistant"]
        turn = min(turn, len(origin) - 1)
        replies = (*origin[:turn], *rest[:-1], f"{rest[-1]}. {number} branch")
        episodes.append(episode(*replies, reward=reward, fork=after(turn)))
    tree = Tree(episodes)
    root = tree.root_value
    assert root is not None
    assert min(e.reward or 0.0 for e in episodes) - 1e-9 <= root
    assert root <= max(e.reward or 0.0 for e in episodes) + 1e-9
    for number, each in enumerate(episodes):
        gained = math.fsum(row.advantage or 0.0 for row in tree.turns(number))
        assert each.reward is not None
        assert gained == pytest.approx(each.reward - root)
    assert len({(node.parent, node.role, node.text) for node in tree.nodes}) == len(tree.nodes)


class TwoLooks(Policy):
    """Looks at one of two halves, then again, and answers right where it has seen both; what it
    draws depends on nothing but its seed."""

    spec = "two-looks"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        turn = sum(message.role == "assistant" for message in conversation)
        if turn == 2:
            return Reply(render_answer("A"))
        half = 500 * (sampling.seed % 2)
        return Reply(render_call("zoom", {"view": 0, "box": [half, 0, half + 500, 1000]}))


def both_seen(_: object, played: Episode) -> float:
    """1 where the two looks showed both halves."""
    looks = [view.box_px for view in played.workspace.views if view.made_by]
    return float(len(set(looks)) == 2)


def test_the_useful_turn_gets_the_advantage() -> None:
    cases = open_cases("phantom,look=radiograph,question=kind:train[:1]")
    rubric = Rubric("both", (Term("both", 1.0, both_seen),))
    rules = Rules(tools=load_tools(["zoom"]), view_size=64, rubric=rubric)
    (origin,) = collect(cases, TwoLooks(), rules)
    asked = {"members": 24, "ordered": True}
    played = [origin]
    for turn in (0, 1, 2):
        played += collect(cases, TwoLooks(), rules, resume_from=(origin, turn), **asked)
    first, second, answer = Tree(played).turns(0)
    # Whichever half comes first, half of the second looks show the other one.
    assert first.advantage == pytest.approx(0.0, abs=0.15)
    assert origin.reward in (0.0, 1.0)
    sign = 1 if origin.reward else -1
    assert sign * (second.advantage or 0.0) == pytest.approx(0.5, abs=0.25)
    assert answer.advantage == 0.0
    action = parse_action(second.text)
    assert isinstance(action, Calls)
    # Two first looks, two looks after each, and the answers: the shared prefix is there once.
    assert len(rows(played)) <= 2 + 4 + 4
    assert {case_id for case_id, _ in rows(played)} == {origin.case_id}
