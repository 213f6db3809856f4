"""The invariants: no conversation breaks them, and every seeded defect is caught by its number."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgym.cases import Case, Region, case_hash
from medgym.episode import Rules
from medgym.imaging.study import ImageRef, Study
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.metrics.looking import hit
from medgym.policy import Policy, Sampling
from medgym.rollout import roll_out
from medgym.tool import load_tools
from medgym.trajectory import (
    Branch,
    ImageUse,
    InvariantError,
    Look,
    Node,
    Trajectory,
    failed_trajectory,
    hash_ids,
    validate,
)

pytest.importorskip("trl")

from medgym.agents.rendering import Renderer

CASE = Case(
    id="a/train/0", images=(ImageRef(uri="a:0"), ImageRef(uri="a:1")), question="Which?",
    options=("no", "yes"), answer="yes", answer_type="choice", group="g", source="a", split="train",
    regions=(Region(label="x", box_px=(10, 10, 20, 20)),),
)  # fmt: skip
STUDIES = [
    Study(np.random.default_rng(0).integers(0, 256, (60, 90)).astype(np.uint8)),
    Study(np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)),
]
LOOK = render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]})


class Recited(Policy):
    """A sampler whose replies are given: the text's tokens, some of them cut off."""

    kind = "sampled"
    spec = "recited"

    def __init__(self, renderer: Renderer, replies: Sequence[tuple[str, int]]) -> None:
        self.renderer = renderer
        self.vision_token_ids = renderer.vision_token_ids
        self._replies = list(replies)
        self.given: list[tuple[int, ...]] = []

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        prompt = self.renderer.prompt(conversation)
        text, cut = self._replies.pop(0)
        ids = self.renderer.encode_reply(text)
        ids = ids[: max(len(ids) - cut, 1)]
        self.given.append(prompt.ids)
        values = tuple(-float(v) for v in np.random.default_rng(sampling.seed).random(len(ids)))
        text = self.renderer.decode_reply(ids)
        return Reply(text, prompt.ids, ids, values, prompt.image_tokens)


def played(renderer: Renderer, replies: Sequence[tuple[str, int]]) -> tuple[Trajectory, Recited]:
    rules = Rules(tools=load_tools(["zoom", "crop"]), max_turns=len(replies), view_size=48)
    policy = Recited(renderer, replies)
    return asyncio.run(roll_out(CASE, policy, rules, studies=STUDIES)), policy


@pytest.fixture(scope="module")
def renderer(tiny_processor: Any) -> Renderer:
    return Renderer(tiny_processor)


@pytest.fixture(scope="module")
def sound(renderer: Renderer) -> Trajectory:
    """Two looks (one reply with two calls), a malformed reply, an answer: nine nodes."""
    replies = [(LOOK, 0), (LOOK + LOOK, 0), ("nonsense", 3), ("<answer>B</answer>", 0)]
    trajectory, _ = played(renderer, replies)
    validate(trajectory)
    return trajectory


texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.just(LOOK),
    st.lists(st.just(LOOK), min_size=2, max_size=4).map("".join),
    st.sampled_from(
        [render_call("crop", {"view": 1, "box": [0, 0, 9, 9]}), "<|image_pad|>", "<|im_end|>"]
    ),
    st.builds(
        render_call,
        st.sampled_from(["zoom", "<|image_pad|>"]),
        st.fixed_dictionaries({"view": st.integers(0, 3), "box": st.just([1, 2, 900, 800])}),
    ),
)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(texts, st.integers(0, 12)), min_size=1, max_size=4),
    st.sampled_from(["<answer>B</answer>", "no answer"]),
)
def test_no_conversation_breaks_an_invariant(
    renderer: Renderer, replies: list[tuple[str, int]], last: str
) -> None:
    trajectory, policy = played(renderer, [*replies, (last, 0)])
    validate(trajectory)
    # What is trained on is what the sampler was given and what it sampled, seen from outside.
    whole = [i for node in trajectory.branch() for i in node.token_ids]
    mask = [m for node in trajectory.branch() for m in node.loss_mask]
    sampled = [node.token_ids for node in trajectory.nodes if node.role == "assistant"]
    assert len(sampled) == len(policy.given)
    for given_ids, ids in zip(policy.given, sampled, strict=True):
        assert tuple(whole[: len(given_ids)]) == given_ids
        assert tuple(whole[len(given_ids) : len(given_ids) + len(ids)]) == ids
        assert not any(mask[len(given_ids) - 1 : len(given_ids)])
    assert sum(mask) == sum(map(len, sampled)) == sum(len(n.logprobs) for n in trajectory.nodes)
    uses = [use for node in trajectory.nodes for use in node.images]
    assert whole.count(renderer.image_token_id) == sum(use.tokens for use in uses)
    assert all(len(use.sha256) == 64 for use in uses)


# Seeded defects. Each takes the sound trajectory and breaks one thing.


def with_node(trajectory: Trajectory, index: int, **fields: Any) -> Trajectory:
    nodes = list(trajectory.nodes)
    nodes[index] = replace(nodes[index], **fields)
    return replace(trajectory, nodes=tuple(nodes))


def swapped(ids: Sequence[int], at: int, by: int) -> tuple[int, ...]:
    return (*ids[:at], by, *ids[at + 1 :])


DEFECTS: dict[str, tuple[int, Callable[[Trajectory], Trajectory]]] = {
    "a token of the prompt is another": (
        1, lambda t: with_node(t, 0, token_ids=swapped(t.nodes[0].token_ids, 3, 9)),
    ),
    "a sampled token is another": (
        1, lambda t: with_node(t, 1, token_ids=swapped(t.nodes[1].token_ids, 0, 9)),
    ),
    "a token is lost between turns": (
        1, lambda t: with_node(
            t, 2, token_ids=t.nodes[2].token_ids[1:], loss_mask=t.nodes[2].loss_mask[1:]
        ),
    ),
    "a node is read after another parent": (1, lambda t: with_node(t, 4, parent=1)),
    "a parent comes later": (1, lambda t: with_node(t, 2, parent=5)),
    "a reply stands at the root": (1, lambda t: with_node(t, 1, parent=-1)),
    "an environment's token is trained on": (
        2, lambda t: with_node(t, 2, loss_mask=(1, *t.nodes[2].loss_mask[1:])),
    ),
    "a sampled token is not trained on": (
        2, lambda t: with_node(t, 1, loss_mask=(0, *t.nodes[1].loss_mask[1:])),
    ),
    "a mask is short": (2, lambda t: with_node(t, 1, loss_mask=t.nodes[1].loss_mask[1:])),
    "a log-probability is missing": (
        2, lambda t: with_node(t, 1, logprobs=t.nodes[1].logprobs[1:]),
    ),
    "all log-probabilities are missing": (2, lambda t: with_node(t, 1, logprobs=())),
    "a log-probability is no number": (
        2, lambda t: with_node(t, 1, logprobs=(float("nan"), *t.nodes[1].logprobs[1:])),
    ),
    "a log-probability is of nothing": (
        2, lambda t: with_node(t, 1, logprobs=(float("-inf"), *t.nodes[1].logprobs[1:])),
    ),
    "a log-probability is positive": (
        2, lambda t: with_node(t, 1, logprobs=(0.5, *t.nodes[1].logprobs[1:])),
    ),
    "the environment has log-probabilities": (2, lambda t: with_node(t, 2, logprobs=(-1.0,))),
    "an image is lost": (3, lambda t: with_node(t, 2, images=())),
    "an image is shown twice": (3, lambda t: with_node(t, 2, images=t.nodes[2].images * 2)),
    "an image has other features": (
        3, lambda t: with_node(t, 2, images=(replace(t.nodes[2].images[0], tokens=3),)),
    ),
    "an image has no features": (
        3, lambda t: with_node(t, 2, images=(replace(t.nodes[2].images[0], tokens=0),)),
    ),
    "an image of nothing stands before one": (
        3, lambda t: with_node(
            t, 2, images=(replace(t.nodes[2].images[0], tokens=0), *t.nodes[2].images)
        ),
    ),
    "two images are exchanged": (
        3, lambda t: with_node(t, 0, images=tuple(reversed(t.nodes[0].images))),
    ),
    "no placeholder is known": (3, lambda t: replace(t, vision_token_ids=())),
    "a vision token was sampled": (
        4, lambda t: with_node(
            t, 1, token_ids=swapped(t.nodes[1].token_ids, 0, t.vision_token_ids[1])
        ),
    ),
    "the placeholder was sampled": (
        4, lambda t: with_node(
            t, 1, token_ids=swapped(t.nodes[1].token_ids, 0, t.vision_token_ids[0])
        ),
    ),
    "a failure is paid": (5, lambda t: replace(t, failure="worker died")),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_caught_by_its_number(sound: Trajectory, defect: str) -> None:
    number, break_it = DEFECTS[defect]
    with pytest.raises(InvariantError, match=f"^invariant {number}: ") as error:
        validate(break_it(sound))
    assert error.value.invariant == number
    assert sound.case_id in str(error.value)


@settings(max_examples=30)
@given(st.data())
def test_a_cut_through_an_image_is_caught(sound: Trajectory, data: st.DataObject) -> None:
    """A trajectory cut in the middle of placeholders, as a length limit would."""
    ids = sound.nodes[2].token_ids
    places = [i for i, token in enumerate(ids) if token == sound.vision_token_ids[0]]
    end = data.draw(st.sampled_from(places))
    cut = with_node(sound, 2, token_ids=ids[:end], loss_mask=(0,) * end)
    with pytest.raises(InvariantError, match="invariant 3"):
        validate(replace(cut, nodes=cut.nodes[:3]))


def test_the_sound_one_is_what_it_says(sound: Trajectory) -> None:
    assert [node.role for node in sound.nodes] == ["user"] + ["assistant", "tool"] * 3 + [
        "assistant"
    ]
    assert sound.turns == 4
    assert (sound.calls, sound.failed_calls, sound.malformed) == (("zoom",) * 3, 0, 1)
    assert (sound.answer, sound.correct, sound.terminated) == ("B", True, True)
    assert [len(node.images) for node in sound.nodes] == [2, 0, 1, 0, 2, 0, 0, 0]
    assert [use.view for node in sound.nodes for use in node.images] == [0, 1, 2, 3, 4]
    assert sound.branch() == sound.nodes
    assert sound.branch(2) == sound.nodes[:3]


def test_a_second_branch_is_held_to_the_same(sound: Trajectory) -> None:
    """Another reply to the same prompt: a graph, not a list."""
    other = replace(sound.nodes[1], token_ids=sound.nodes[1].token_ids[:4],
                    loss_mask=(1,) * 4, logprobs=(-1.0,) * 4)  # fmt: skip
    forked = replace(sound, nodes=(*sound.nodes, other))
    validate(forked)
    assert forked.branch() == (sound.nodes[0], other)
    with pytest.raises(InvariantError, match="invariant 1"):
        validate(replace(sound, nodes=(*sound.nodes, replace(other, parent=2))))


def test_a_prompt_that_drifts_is_refused_when_it_is_recorded(renderer: Renderer) -> None:
    class Drifting(Recited):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            reply = await super().act(conversation, sampling)
            assert reply.prompt_ids is not None
            if len(self.given) > 1:
                return replace(reply, prompt_ids=swapped(reply.prompt_ids, 2, 9))
            return reply

    rules = Rules(tools=load_tools(["zoom"]), view_size=48)
    policy = Drifting(renderer, [(LOOK, 0), ("<answer>B</answer>", 0)])
    with pytest.raises(InvariantError, match=r"invariant 1.*does not continue"):
        asyncio.run(roll_out(CASE, policy, rules, studies=STUDIES))


def test_an_image_that_was_not_encoded_is_refused_when_it_is_recorded(renderer: Renderer) -> None:
    class Blind(Recited):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            reply = await super().act(conversation, sampling)
            return replace(reply, image_tokens=reply.image_tokens[:1])

    policy = Blind(renderer, [("<answer>B</answer>", 0)])
    with pytest.raises(InvariantError, match="invariant 3"):
        asyncio.run(roll_out(CASE, policy, Rules(view_size=48), studies=STUDIES))


def test_a_failure_carries_no_reward_and_may_be_empty() -> None:
    failed = Trajectory("a", "p", 0, 0, "sampled", (), failure="worker died")
    validate(failed)
    assert failed.branch() == ()
    with pytest.raises(InvariantError, match="invariant 5"):
        validate(replace(failed, reward=0.0))
    with pytest.raises(InvariantError, match="invariant 5"):
        validate(replace(failed, kind="text", reward=0.0))


def test_a_trajectory_of_text_has_no_tokens_to_hold() -> None:
    node = Node(-1, "user", "?", images=(ImageUse("0" * 64, 0),))
    validate(Trajectory("a", "p", 0, 0, "text", (node,), reward=0.0))


def test_the_hash_of_tokens_counts_order_and_boundaries() -> None:
    assert hash_ids([1, 2]) == hash_ids((1, 2)) != hash_ids([2, 1])
    assert len({hash_ids(ids) for ids in ([], [0], [0, 0], [256], [1])}) == 5


# Where it looked.


@pytest.mark.parametrize(
    ("replies", "looked"),
    [
        ([], False),
        ([LOOK], True),
        ([render_call("zoom", {"view": 0, "box": [500, 500, 1000, 1000]})], False),
        ([render_call("zoom", {"view": 1, "box": [0, 0, 500, 500]})], False),
        ([render_call("zoom", {"view": 0, "box": [0, 0, 1000, 1000]})], False),
        ([render_call("crop", {"view": 0, "box": [0, 0, 1000, 1000]})], False),
    ],
)
def test_a_hit_is_a_closer_look_at_the_region(
    renderer: Renderer, replies: list[str], looked: bool
) -> None:
    trajectory, _ = played(renderer, [(r, 0) for r in [*replies, render_answer("B")]])
    assert hit(CASE, trajectory) is looked
    assert hit(CASE.model_copy(update={"regions": ()}), trajectory) is None
    assert len(trajectory.looks) == len(replies)


def test_the_gain_of_a_look_is_how_much_finer_it_is(sound: Trajectory) -> None:
    assert sound.looks[0] == Look("zoom", 0, (0, 0, 45, 30), pytest.approx(2, rel=0.1))


# The parts of a consultation.


def part_of(*roles: str) -> tuple[tuple[Node, ...], Trajectory]:
    """A part of text as it stands in its own chain, and its record without nodes."""
    nodes = tuple(Node(place - 1, role, role) for place, role in enumerate(roles))  # type: ignore[arg-type]
    return nodes, Trajectory("a", "p", 0, 0, "text", ())


def consultation() -> Trajectory:
    """Two parts, of two and of three nodes, in one graph; between them one that never began."""
    (first, record), (second, _) = (
        part_of("user", "assistant"),
        part_of("user", "tool", "assistant"),
    )
    shifted = tuple(
        replace(node, parent=node.parent + 2 if node.parent >= 0 else -1) for node in second
    )
    branches = (
        Branch("triage", 1, record),
        Branch("specialist", -1, replace(record, failure="worker died")),
        Branch("attending", 4, record, round=1),
    )
    return replace(record, nodes=(*first, *shifted), branches=branches)


def test_the_parts_of_a_sound_consultation_are_its_graph() -> None:
    whole = consultation()
    validate(whole)
    parts = dict(whole.parts())
    assert {role: [n.text for n in part.nodes] for role, part in parts.items()} == {
        "triage": ["user", "assistant"],
        "specialist": [],
        "attending": ["user", "tool", "assistant"],
    }
    assert [node.parent for node in parts["attending"].nodes] == [-1, 0, 1]
    assert parts["triage"].parts() == (("policy", parts["triage"]),)
    assert (whole.turns, whole.tokens) == (2, 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: replace(t, nodes=(*t.nodes, Node(4, "tool", "?"))), "belongs to no branch"),
        (lambda t: replace(t, branches=t.branches[:1]), "belongs to no branch"),
        (lambda t: replace(t, branches=t.branches[1:]), "are not the graph"),
        (lambda t: replace(t, branches=(*t.branches, t.branches[-1])), "are not the graph"),
        (lambda t: replace(t, branches=t.branches[::-1]), "are not the graph"),
        (lambda t: with_node(t, 2, parent=1), "are not the graph"),
    ],
)
def test_parts_that_are_not_the_graph_are_caught(
    change: Callable[[Trajectory], Trajectory], says: str
) -> None:
    with pytest.raises(InvariantError, match=rf"^invariant 1: a: .*{says}") as error:
        validate(change(consultation()))
    assert error.value.invariant == 1


def test_every_part_is_held_to_the_invariants() -> None:
    whole = consultation()
    failed = replace(whole.branches[1].record, reward=1.0)
    paid = (whole.branches[0], replace(whole.branches[1], record=failed), whole.branches[2])
    with pytest.raises(InvariantError, match="invariant 5"):
        validate(replace(whole, branches=paid))


def test_tokens_are_counted_once(sound: Trajectory) -> None:
    whole = [token for node in sound.branch() for token in node.token_ids]
    assert sound.tokens == len(whole) > 0


def test_a_part_may_be_one_node() -> None:
    record = Trajectory("a", "p", 0, 0, "text", ())
    nodes = tuple(Node(-1, "user", text) for text in ("one", "two"))
    branches = (Branch("triage", 0, record), Branch("attending", 1, record))
    whole = replace(record, nodes=nodes, branches=branches)
    validate(whole)
    assert [part.nodes for _, part in whole.parts()] == [nodes[:1], nodes[1:]]


def test_what_stands_for_an_episode_that_failed_names_it() -> None:
    failed = failed_trajectory(CASE, policy="p", seed=7, member=3, failure="worker died")
    assert failed == Trajectory(
        case_id="a/train/0", policy="p", seed=7, member=3, kind="text", nodes=(),
        failure="worker died", question=CASE.question, options=CASE.options, gold=CASE.answer,
        case_hash=case_hash(CASE),
    )  # fmt: skip
    validate(failed)
