"""Rollouts in this process: repeatable, in order, at each episode's own pace, and breakable off."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medgym.cases import Case, open_cases
from medgym.episode import Rules
from medgym.errors import UserError
from medgym.failures import Failure
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import ImageRef, Study
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect, collection, image_memory, roll_out
from medgym.rollout.backend import Job
from medgym.rollout.local import LocalBackend
from medgym.tool import load_tools
from medgym.trajectory import Trajectory, validate

RULES = Rules(tools=load_tools(["zoom"]), view_size=64)
LOOK = render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]})


class Waiting(Policy):
    """Looks once and answers; waits before each reply, and counts who waits with it."""

    spec = "waiting"

    def __init__(self, seconds: float = 0.0, fail_on: str | None = None) -> None:
        self.seconds, self.fail_on = seconds, fail_on
        self.now = self.most = self.acts = 0
        self.seeds: list[int] = []

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        self.now, self.acts = self.now + 1, self.acts + 1
        self.most = max(self.most, self.now)
        self.seeds.append(sampling.seed)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        if self.fail_on and self.fail_on in conversation[1].text:
            raise RuntimeError("the policy failed")
        return Reply(LOOK if len(conversation) == 2 else render_answer("A"))


class Together(Waiting):
    """Waits until so many wait at once, however late one comes, and a little longer."""

    def __init__(self, crowd: int) -> None:
        super().__init__(0.05)
        self.crowd = crowd

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        async with asyncio.timeout(120):
            self.now += 1
            self.most = max(self.most, self.now)
            while self.most < self.crowd:
                await asyncio.sleep(0.01)
            self.now -= 1
        return await super().act(conversation, sampling)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without a pause."""
    monkeypatch.setattr(collection, "BACK_OFF", 0.0)


def cases(count: int = 6) -> Any:
    return open_cases(f"phantom:train[:{count}]")


def names(trajectories: Sequence[Trajectory]) -> list[tuple[str, int]]:
    return [(t.case_id, t.member) for t in trajectories]


def test_trajectories_come_in_the_order_of_cases_and_members() -> None:
    played = list(collect(cases(3), Waiting(), RULES, group_size=2, concurrency=4, ordered=True))
    assert names(played) == [(case.id, member) for case in cases(3) for member in (0, 1)]
    assert all(t.turns == 2 and t.kind == "text" and t.policy == "waiting" for t in played)


def test_without_an_order_they_come_as_they_finish_and_are_the_same() -> None:
    class Uneven(Waiting):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            if conversation[1].images[0].sha256 == slow:
                while self.acts < 6:  # the turns of the three with other images
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
            return await super().act(conversation, sampling)

    slow = RULES.begin(cases(1)[0]).messages[1].images[0].sha256
    played = list(collect(cases(5), Uneven(), RULES))
    ordered = list(collect(cases(5), Waiting(), RULES, ordered=True))
    assert sorted(names(played)) == sorted(names(ordered))
    assert played[-1].nodes[0].images[0].sha256 == slow
    assert {t.case_id: t for t in played} == {t.case_id: t for t in ordered}


@pytest.mark.parametrize("concurrency", [1, 3, 64])
def test_what_is_played_does_not_depend_on_who_plays_beside(concurrency: int) -> None:
    policy, options = load_policy("scripted:random"), {"group_size": 2, "seed": 5, "ordered": True}
    want = list(collect(cases(20), policy, RULES, **options))
    assert list(collect(cases(20), policy, RULES, concurrency=concurrency, **options)) == want
    slices = [cases(20)[5 * i : 5 * i + 5] for i in range(4)]
    assert [t for some in slices for t in collect(some, policy, RULES, **options)] == want


def test_members_of_a_group_differ_and_so_do_runs() -> None:
    policy = load_policy("scripted:random")
    played = list(collect(cases(10), policy, RULES, group_size=6, seed=1, ordered=True))
    groups = [{t.nodes for t in played[i : i + 6]} for i in range(0, 60, 6)]
    assert sum(len(group) for group in groups) > 45
    other = list(collect(cases(10), policy, RULES, group_size=6, seed=2, ordered=True))
    assert sum(a.nodes != b.nodes for a, b in zip(played, other, strict=True)) > 45


def test_every_turn_of_every_member_has_a_seed_of_its_own() -> None:
    policy = Waiting()
    list(collect(cases(5), policy, RULES, group_size=3))
    assert len(policy.seeds) == 30 == len(set(policy.seeds))


def test_as_many_are_in_flight_as_may_be() -> None:
    policy = Together(20)
    list(collect(cases(10), policy, RULES, group_size=4, concurrency=20))
    assert policy.most == 20
    few = Waiting()
    list(collect(cases(6), few, RULES, concurrency=2))
    assert few.most <= 2


def test_cases_are_drawn_only_as_they_are_needed() -> None:
    made = 0

    class Counted(Sequence[Case]):
        def __len__(self) -> int:
            return 100

        def __getitem__(self, index: Any) -> Any:
            nonlocal made
            if index >= 100:
                raise IndexError
            made += 1
            return cases(1)[0].model_copy(update={"id": f"n/train/{index}"})

    stream = collect(Counted(), Waiting(), RULES, concurrency=4)
    assert made == 0
    next(stream)
    assert made <= 9, "those that play, as many that have ended, and the next one"
    stream.close()  # type: ignore[attr-defined]


def test_a_group_shares_its_decoded_images(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = image_memory.opened_image

    def counted(ref: ImageRef) -> OpenedImage:
        opened.append(ref.uri)
        return real(ref)

    monkeypatch.setattr(image_memory, "opened_image", counted)
    list(collect(cases(4), Together(20), RULES, group_size=5, concurrency=20))
    assert len(opened) == 4 == len(set(opened))


def test_each_case_of_one_id_is_played_on_its_own_image() -> None:
    one, other = cases(2)
    twin = other.model_copy(update={"id": one.id})

    async def both() -> list[Trajectory]:
        backend = LocalBackend(Waiting(), RULES)
        played = await asyncio.gather(*(backend.attempt(Job(c, 0)) for c in (one, twin, other)))
        await backend.close()
        return [each.trajectory for each in played]

    shown = [[use.sha256 for use in played.nodes[0].images] for played in asyncio.run(both())]
    assert shown[0] != shown[1] == shown[2]
    with pytest.raises(UserError, match=f"two cases have the id '{one.id}': number 0 and number 1"):
        collect([one, twin], Waiting(), RULES)


def test_finished_conversations_are_handed_on() -> None:
    handed: list[Sequence[Message]] = []
    options = {"concurrency": 1, "on_messages": handed.append}
    played = list(collect(cases(3), Waiting(), RULES, **options))
    assert len(handed) == 3
    assert [m.role for m in handed[0]] == ["system", "user", "assistant", "tool", "assistant"]
    shown = [part.sha256 for message in handed[0] for part in message.images]
    assert shown == [use.sha256 for node in played[0].nodes for use in node.images]


def test_tokens_are_spent() -> None:
    class Wordy(Waiting):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            reply = await super().act(conversation, sampling)
            before = 10 * sum(message.role == "assistant" for message in conversation)
            return replace(reply, text=LOOK, prompt_ids=(1,) * before, token_ids=(1,) * 10)

    rules = Rules(tools=RULES.tools, view_size=64, max_tokens=25)
    played = list(collect(cases(2), Wordy(), rules))
    assert [(t.turns, t.truncated, t.reward) for t in played] == [(3, True, 0.0)] * 2
    assert [sum(len(node.token_ids) for node in t.nodes) for t in played] == [30, 30]


def test_a_policy_that_fails_is_tried_again_and_never_scored() -> None:
    policy = Waiting(fail_on="Question")
    (played,) = collect(cases(1), policy, RULES)
    assert played.failure is not None
    assert played.failure.startswith("policy: waiting raised RuntimeError at test_local.py:")
    assert played.reward is None
    assert policy.acts == collection.RETRIES + 1
    validate(played)


def test_a_case_without_its_image_fails_alone_and_by_name() -> None:
    lost = cases(1)[0].model_copy(
        update={"images": (ImageRef(uri="file:/no/such.png"),), "id": "lost/train/0"}
    )
    played = list(collect([*cases(2), lost], Waiting(), RULES, ordered=True))
    assert [t.failure is None for t in played] == [True, True, False]
    assert "no such image: image 0" in str(played[2].failure)


def test_a_stream_that_is_left_plays_nothing_on() -> None:
    policy = Waiting(0.001)
    stream = collect(cases(50), policy, RULES, concurrency=5)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    acts = policy.acts
    time.sleep(0.05)
    assert policy.acts == acts <= 20
    assert policy.now == 0
    assert len(list(collect(cases(2), policy, RULES))) == 2


# Where an event loop is running already, as in a notebook.


def test_it_works_inside_a_running_event_loop() -> None:
    def played() -> Iterator[Trajectory]:
        return collect(cases(4), Waiting(), RULES, ordered=True)

    want = list(played())

    async def cell() -> list[Trajectory]:
        return list(played())

    assert asyncio.run(cell()) == want

    async def later(stream: Iterator[Trajectory]) -> list[Trajectory]:
        return list(stream)  # made outside, read inside

    assert asyncio.run(later(played())) == want


def test_errors_inside_a_running_event_loop_come_out() -> None:
    class Wrong(Waiting):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            raise UserError("asked wrongly; fix: ask rightly")

    async def cell() -> None:
        list(collect(cases(4), Wrong(), RULES))

    with pytest.raises(UserError, match="asked wrongly"):
        asyncio.run(cell())
    with pytest.raises(UserError, match="asked wrongly"):
        list(collect(cases(4), Wrong(), RULES))


def test_a_stream_that_is_left_inside_a_running_event_loop_plays_nothing_on() -> None:
    policy = Waiting(0.05)
    before = threading.active_count()

    async def cell() -> None:
        stream = collect(cases(200), policy, RULES, concurrency=4)
        next(stream)
        stream.close()  # type: ignore[attr-defined]

    asyncio.run(cell())
    acts = policy.acts
    end = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before
    assert policy.acts == acts < 100


def test_one_with_an_event_loop_plays_as_a_coroutine() -> None:
    alone = asyncio.run(roll_out(cases(1)[0], Waiting(), RULES))
    assert [alone] == list(collect(cases(1), Waiting(), RULES))


def test_images_may_be_given_decoded() -> None:
    case = cases(1)[0].model_copy(update={"images": (ImageRef(uri="gone:0"),)})
    study = Study(np.zeros((64, 64), np.uint8))
    played = asyncio.run(roll_out(case, Waiting(), RULES, studies=[study]))
    assert played.looks[0].box_px == (0, 0, 32, 32)


def test_an_image_that_nobody_waits_for_any_more_fails_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that ends prints one line, and no traceback of Python's."""
    left, said = threading.Event(), list[Any]()

    def failing(case: Case) -> Any:
        left.wait(10)
        raise Failure("image", "it is lost", final=True)

    monkeypatch.setattr("medgym.rollout.local.decoded", failing)

    async def leave() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, about: said.append(about))
        backend = LocalBackend(load_policy("scripted:prior"), RULES, sampling=None, seed=0)
        attempt = asyncio.ensure_future(backend.attempt(Job(open_cases("phantom:test[:1]")[0], 0)))
        await asyncio.sleep(0.05)
        attempt.cancel()
        await asyncio.gather(attempt, return_exceptions=True)
        del attempt
        left.set()
        await asyncio.sleep(0.05)
        await backend.close()
        del backend
        gc.collect()

    asyncio.run(leave())
    assert said == []
