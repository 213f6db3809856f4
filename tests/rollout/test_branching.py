"""Episodes that branch: a replay is the episode's own beginning, or it is refused by name."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

import medgym
from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect
from medgym.rollout.branching import Resume, turns_to_branch
from medgym.storage.run_folder import RunFolder, content
from medgym.storage.trajectories import TrajectoryStore
from medgym.tool import Tool, ToolArgs, ToolResult, load_tools
from medgym.trajectory import Trajectory, failed_trajectory, validate

CASES = open_cases("phantom,look=radiograph,question=kind:train[:3]")
RULES = Rules(tools=load_tools(["zoom"]), view_size=64, max_turns=4)


class Looks(Policy):
    """Looks so often, where its seed says, then answers as its seed says; cannot be read once."""

    spec = "looks"

    def __init__(self, looks: int = 2, garbles: bool = False) -> None:
        self.looks = looks
        self.garbles = garbles
        self.asked: list[int] = []

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        turn = sum(message.role == "assistant" for message in conversation)
        self.asked.append(turn)
        if self.garbles and turn == 0:
            return Reply("<think>it goes on", cut=True)
        if turn < self.looks:
            at = sampling.seed % 500
            return Reply(render_call("zoom", {"view": 0, "box": [at, at, at + 300, at + 300]}))
        return Reply(render_answer("ABCD"[sampling.seed % 4]))


class Once(Tool):
    """Says how often it was called: what it says cannot be had twice."""

    name = "once"
    calls = 0

    class Args(ToolArgs):
        """No arguments."""

    def __call__(self, args: Any, workspace: Any) -> ToolResult:
        Once.calls += 1
        return ToolResult(f"call {Once.calls}")


class CallsOnce(Policy):
    spec = "calls-once"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        looked = len(conversation) > 2
        return Reply(render_answer("A") if looked else render_call("once", {}))


@pytest.fixture(scope="module")
def played() -> list[Trajectory]:
    return list(collect(CASES, Looks(), RULES, group_size=2, ordered=True))


def test_a_branch_begins_as_its_origin_and_only_then_asks_the_policy(
    played: list[Trajectory],
) -> None:
    policy = Looks()
    branches = list(
        collect(CASES, policy, RULES, resume_from=(played[1], 1), members=6, ordered=True)
    )
    assert [branch.member for branch in branches] == list(range(6))
    for branch in branches:
        assert branch.nodes[:3] == played[1].nodes[:3]
        assert branch.fork == medgym.Fork(1, 1, 3, Resume.of(played[1], 1).fork.prefix)
        assert branch.turns == 3
        assert branch.calls == ("zoom", "zoom")
        assert len(branch.looks) == 2
        assert branch.looks[0] == played[1].looks[0]
        validate(branch)
    assert min(policy.asked) == 1
    assert len({branch.nodes[3].text for branch in branches}) > 1


def test_draws_depend_on_the_fork_the_member_and_the_seed(played: list[Trajectory]) -> None:
    def after(trajectory: Trajectory, turn: int, seed: int = 0) -> list[str]:
        found = collect(
            CASES,
            Looks(),
            RULES,
            resume_from=(trajectory, turn),
            members=2,
            seed=seed,
            ordered=True,
        )
        return [branch.nodes[2 * turn + 1].text for branch in found]

    first = after(played[0], 1)
    assert first == after(played[0], 1)
    assert first != after(played[1], 1)
    assert first != after(played[0], 1, seed=1)
    assert after(played[0], 0) != [each.nodes[1].text for each in played[:2]]


def test_a_branch_of_a_branch_and_of_a_reply_that_could_not_be_read() -> None:
    (origin,) = collect(CASES[:1], Looks(garbles=True), RULES)
    assert origin.faults == ("cut",)
    (branch,) = collect(CASES, Looks(), RULES, resume_from=(origin, 1))
    assert branch.nodes[:3] == origin.nodes[:3]
    assert branch.faults == ("cut",)
    (twig,) = collect(CASES, Looks(), RULES, resume_from=(branch, 2))
    assert twig.nodes[:5] == branch.nodes[:5]


def test_several_cases_are_branched_and_no_others(played: list[Trajectory]) -> None:
    pairs = [(played[4], 2), (played[0], 1)]
    branches = list(collect(CASES, Looks(), RULES, resume_from=pairs, group_size=2, ordered=True))
    assert [branch.case_id for branch in branches] == [
        case.id for case in (CASES[0], CASES[0], CASES[2], CASES[2])
    ]


def test_branches_are_stored_resumed_and_counted(played: list[Trajectory], tmp_path: Path) -> None:
    def go(folder: str, pairs: Any, stop: int | None = None) -> RunFolder:
        stream = collect(
            CASES,
            Looks(),
            RULES,
            resume_from=pairs,
            members=3,
            out=tmp_path / folder,
            concurrency=1,
        )
        for number, _ in enumerate(stream):
            if number == stop:
                break
        stream.close()  # type: ignore[attr-defined]
        return RunFolder.open(tmp_path / folder)

    pairs = [(played[0], 1), (played[2], 2)]
    whole = go("whole", pairs)
    assert go("broken", pairs, stop=1).manifest["status"] == "running"
    kept = {
        (each.case_id, each.member) for each in RunFolder.open(tmp_path / "broken").trajectories
    }
    assert 0 < len(kept) < 6
    with pytest.raises(UserError, match="resume_from, resume_hash"):
        go("broken", [(played[0], 2), (played[2], 2)])
    broken = go("broken", pairs)
    assert broken.manifest["content"] == whole.manifest["content"]
    assert [each.fork.turn for each in whole.trajectories if each.fork] == [1, 1, 1, 2, 2, 2]
    for each in whole.trajectories:  # the folder is whole by itself
        assert all(whole.images.has(sha256) for sha256 in each.image_hashes)
    plain = [replace(each, fork=None) for each in whole.trajectories]
    assert content(plain) != content(whole.trajectories)


def test_a_run_of_before_there_were_forks_is_read(
    played: list[Trajectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow

    from medgym.storage import trajectories

    new = trajectories._schema(places=False)
    old = new.remove(new.get_field_index("fork"))
    assert isinstance(old, pyarrow.Schema)
    monkeypatch.setattr(trajectories, "_schema", lambda places: old)
    store = TrajectoryStore(tmp_path)
    store.write(played)
    monkeypatch.undo()
    assert list(store) == played
    store.write([replace(played[0], fork=Resume.of(played[0], 1).fork)])
    assert [each.fork is None for each in store] == [True] * 6 + [False]
    assert store.table().num_rows == 7


def a_consultation(trajectory: Trajectory) -> Trajectory:
    part = medgym.Branch("attending", len(trajectory.nodes) - 1, replace(trajectory, nodes=()))
    return replace(trajectory, branches=(part,))


@pytest.mark.parametrize(
    ("change", "turn", "said"),
    [
        (lambda t: t, 3, r"#1 cannot be branched after turn 3: .* 2 of its turns; .* from 0 to 2"),
        (lambda t: t, -1, "after turn -1"),
        (a_consultation, 1, "is a consultation"),
        (
            lambda t: failed_trajectory(CASES[0], policy="", seed=0, member=0, failure="x"),
            0,
            "fail",
        ),
        (lambda t: replace(t, system="Play well."), 1, "other instructions"),
        (lambda t: replace(t, case_hash="0"), 1, "the case .* has changed"),
        (lambda t: replace(t, case_id="other"), 1, "'other' .* is not among the cases"),
    ],
)
def test_what_cannot_be_branched_is_said_before_any_work(
    change: Callable[[Trajectory], Trajectory],
    turn: int,
    said: str,
    played: list[Trajectory],
    tmp_path: Path,
) -> None:
    policy = Looks()
    with pytest.raises(UserError, match=said) as caught:
        collect(CASES, policy, RULES, resume_from=(change(played[1]), turn), out=tmp_path / "run")
    assert str(caught.value).count("; fix: ") == 1
    assert "\n" not in str(caught.value)
    assert not policy.asked
    assert not (tmp_path / "run").exists()


def test_other_askings_that_are_refused(played: list[Trajectory], tmp_path: Path) -> None:
    short = replace(RULES, max_turns=2)
    for asked, rules, said in (
        ({"members": 2}, RULES, "give both"),
        ({"resume_from": (played[0], 1), "members": 0}, RULES, "1 or more"),
        ({"resume_from": (played[0], 1), "members": 2, "group_size": 2}, RULES, "without"),
        ({"resume_from": []}, RULES, "names no episode"),
        ({"resume_from": [(played[0], 1), (played[1], 1)]}, RULES, "at two places"),
        ({"resume_from": (played[0], 2)}, short, "max_turns is 2"),
    ):
        with pytest.raises(UserError, match=said):
            collect(CASES, Looks(), rules, **asked)
    file = tmp_path / "team.toml"
    roles = ("triage", "specialist", "attending")
    lines = [f'[roles.{role}]\npolicy = "scripted:prior"\n' for role in roles]
    file.write_text("[consultation]\n" + "".join(lines))
    with pytest.raises(UserError, match="cannot play a branch"):
        collect(CASES, f"consultation:{file}", RULES, resume_from=(played[0], 1))


def test_a_tool_that_changed_is_named() -> None:
    rules = Rules(tools=(Once(),), view_size=64)
    (origin,) = collect(CASES[:1], CallsOnce(), rules)
    with pytest.raises(UserError, match="the text in what once replied to turn 1 differ") as caught:
        list(collect(CASES, CallsOnce(), rules, resume_from=(origin, 1)))
    assert "a tool or the data changed; fix: " in str(caught.value)


class Stalls(Tool):
    """Passes its deadline at the calls that it is told to, and at no other, however slow."""

    name = "once"
    late: ClassVar[list[bool]] = []

    @property
    def deadline_s(self) -> float:  # type: ignore[override]
        return 0.2 if self.late and self.late[0] else 60.0

    class Args(ToolArgs):
        """No arguments."""

    def __call__(self, args: Any, workspace: Any) -> ToolResult:
        if self.late and self.late.pop(0):
            time.sleep(0.6)
        return ToolResult("done")


def test_a_tool_that_is_late_in_a_replay_is_a_failure_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("medgym.rollout.collection.BACK_OFF", 0.0)
    rules = Rules(tools=(Stalls(),), view_size=64)
    (origin,) = collect(CASES[:1], CallsOnce(), rules)
    Stalls.late = [True, False]
    tallies: list[dict[str, int]] = []
    asked: dict[str, Any] = {"on_failure": lambda tally: tallies.append(dict(tally.failures))}
    (branch,) = collect(CASES, CallsOnce(), rules, resume_from=(origin, 1), **asked)
    assert branch.failure is None
    assert branch.nodes[:3] == origin.nodes[:3]
    assert tallies == [{"tool": 1}]
    Stalls.late = [True]
    (late,) = collect(CASES[:1], CallsOnce(), rules)
    assert late.faults == ("late:once",)
    with pytest.raises(UserError, match="a tool was late then"):
        list(collect(CASES, CallsOnce(), rules, resume_from=(late, 1)))


def test_pixels_that_changed_are_named(played: list[Trajectory]) -> None:
    node = played[0].nodes[2]
    other = replace(node, images=(replace(node.images[0], sha256="0" * 64),))
    origin = replace(played[0], nodes=(*played[0].nodes[:2], other, *played[0].nodes[3:]))
    with pytest.raises(UserError, match="the images in what zoom replied to turn 1 differ"):
        list(collect(CASES, Looks(), RULES, resume_from=(origin, 1)))
    whole = replace(RULES, view_size=32)
    with pytest.raises(UserError, match=r"images in the question differ|may be shown whole"):
        list(collect(CASES, Looks(), whole, resume_from=(played[0], 1)))


@pytest.fixture(scope="module")
def sampled(tiny_folder: Path) -> tuple[Policy, Trajectory, Rules]:
    """What the tiny model sampled, in as many turns as its budget allows."""
    policy = load_policy(f"hf:{tiny_folder}")
    rules = replace(RULES, max_turns=3)
    (origin,) = collect(CASES[:1], policy, rules, sampling=Sampling(max_tokens=5))
    assert turns_to_branch(origin) == 2
    return policy, origin, rules


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_stored_tokens_are_used_again_bit_for_bit(
    turn: int, sampled: tuple[Policy, Trajectory, Rules]
) -> None:
    policy, origin, rules = sampled
    kept = 2 * turn + 1
    for branch in collect(
        CASES, policy, rules, resume_from=(origin, turn), members=3, sampling=Sampling(max_tokens=5)
    ):
        validate(branch)
        assert branch.nodes[:kept] == origin.nodes[:kept]
        assert branch.nodes[kept].logprobs
        assert branch.kind == "sampled"


def test_who_may_play_on(
    sampled: tuple[Policy, Trajectory, Rules], played: list[Trajectory]
) -> None:
    policy, origin, rules = sampled
    (told,) = collect(CASES, Looks(), rules, resume_from=(origin, 1))  # in words alone
    assert told.kind == "text"
    assert told.nodes[1].text == origin.nodes[1].text
    validate(told)
    with pytest.raises(UserError, match="have no tokens, which hf:"):
        collect(CASES, policy, RULES, resume_from=(played[0], 1))
    written = replace(
        origin,
        kind="demonstration",
        nodes=tuple(replace(node, logprobs=()) for node in origin.nodes),
    )
    with pytest.raises(UserError, match="have no log-probabilities"):
        collect(CASES, policy, rules, resume_from=(written, 1))
    foreign = replace(origin, vision_token_ids=(origin.vision_token_ids[0], 10**6))
    with pytest.raises(UserError, match="is in other tokens than hf:"):
        collect(CASES, policy, rules, resume_from=(foreign, 0))
    first = origin.nodes[0]
    ids = (first.token_ids[0] + 1, *first.token_ids[1:])
    other = replace(origin, nodes=(replace(first, token_ids=ids),), terminated=False)
    with pytest.raises(UserError, match="is in other tokens than hf:"):
        list(collect(CASES, policy, rules, resume_from=(other, 0)))
