"""The back end on Ray: the same trajectories as in this process, whatever dies on the way."""

import asyncio
import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image

if importlib.util.find_spec("ray") is None:  # not imported: medgym sets how it is to be, first
    pytest.skip("Ray is not installed", allow_module_level=True)

from medgym.cases import Case, open_cases
from medgym.cli import main
from medgym.episode import Rules
from medgym.errors import RunError, ToolError, UserError
from medgym.evals.pivot.asking import ask
from medgym.evals.pivot.places import Pivots
from medgym.failures import Failure
from medgym.imaging.study import ImageRef, open_image
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import collect, collection
from medgym.rollout.backend import Backend
from medgym.rollout.image_memory import images_to_send
from medgym.rollout.local import LocalBackend
from medgym.rollout.ray import backend
from medgym.rollout.ray import tools as remote_tools
from medgym.rollout.ray.backend import RayBackend
from medgym.rollout.ray.cluster import join, ray
from medgym.rollout.ray.policy import NamedPolicy, PolicyActor, named, packed_policy
from medgym.rollout.ray.wire import Unpacked, packed, sendable, unwrapped
from medgym.rollout.sync import drive_each
from medgym.storage.run_folder import RunFolder, content
from medgym.tool import Tool, ToolArgs, ToolResult, load_tools
from medgym.trajectory import InvariantError, Trajectory, validate
from medgym.workspace import Workspace

pytestmark = pytest.mark.slow

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
RULES = Rules(tools=load_tools(["zoom"]), view_size=64)
CASES = "phantom,look=ct,question=kind:train[:{}]"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One for the whole module: back ends stay with what the process has joined."""
    joined = join(None, cpus=4)
    assert joined.private is not None
    assert joined.private.path.exists()
    yield
    joined.leave()
    assert not ray.is_initialized()
    assert not joined.private.path.exists()
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries soon, and for as long as an actor may take to come up again on a busy machine."""
    monkeypatch.setattr(collection, "BACK_OFF", 0.02)
    monkeypatch.setattr(collection, "RETRIES", 16)


def cases(count: int) -> Any:
    return open_cases(CASES.format(count))


def played(
    some: Sequence[Case], make: Callable[[], Backend], **options: Any
) -> Iterator[Trajectory]:
    asked = {"policy": "test", "group_size": 1, "seed": 0, "concurrency": 8} | options
    return drive_each(collection.play(some, make, **asked))


def unpacked(part: Any) -> Any:
    return asyncio.run(Unpacked().made(part))


def by_key(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    return sorted(trajectories, key=lambda t: (t.case_id, t.member))


class Looking(Policy):
    """Calls a tool some times, then answers."""

    spec = "looking"

    def __init__(self, call: str, times: int = 3) -> None:
        self.call, self.times = call, times

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        turns = sum(message.role == "assistant" for message in conversation)
        return Reply(self.call if turns < self.times else render_answer("A"))


class Slow(Tool):
    """Looks at the whole image, after a while."""

    name = "slow"

    class Args(ToolArgs):
        pass

    def __init__(self, seconds: float = 0.05, hangs: Path | None = None) -> None:
        self.seconds, self.hangs = seconds, hangs

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        time.sleep(self.seconds)
        if self.hangs is not None:
            with suppress(FileExistsError):
                self.hangs.touch(exist_ok=False)
                time.sleep(600)  # the first time only
        number = len(workspace.views)
        box_px = (float(number), 0.0, float(number + 64), 64.0)
        return ToolResult(views=(workspace.look(0, box_px, enlarge=True, made_by=self.name),))


SLOW = Looking(render_call("slow", {}))


def in_a_file(case: Case, folder: Path) -> Case:
    """The case with its image in a file; on a cluster that was joined, this process reads it."""
    pixels = open_image(case.images[0]).pixels
    Image.fromarray(pixels).save(folder / "image.png")
    uri = (folder / "image.png").as_uri()
    return case.model_copy(update={"id": "file/train/0", "images": (ImageRef(uri=uri),)})


def test_the_same_call_plays_the_same_on_both(tmp_path: Path) -> None:
    some = [*cases(11), in_a_file(cases(12)[11], tmp_path)]
    rules = replace(RULES, tools=load_tools(["zoom", "segment"]))
    policy = load_policy("scripted:random")
    folders = []
    for kind in (LocalBackend, RayBackend):
        folder = RunFolder.create(tmp_path / kind.__name__, {})
        folders.append(folder)

        def make(kind: Any = kind, folder: RunFolder = folder) -> Backend:
            return kind(policy, rules, seed=3, concurrency=8, stored=folder.images.has)

        streamed = list(played(some, make, group_size=3, seed=3, out=folder))
        assert by_key(streamed) == by_key(list(folder.trajectories))
        assert len(streamed) == 36
    local, remote = folders
    assert by_key(list(local.trajectories)) == by_key(list(remote.trajectories))
    assert content(local.trajectories) == content(remote.trajectories)
    kept = [{p.name: p.read_bytes() for p in f.images.path.rglob("*.png")} for f in folders]
    assert kept[0] == kept[1]
    assert len(kept[0]) > 12


def test_a_group_shares_its_decoded_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def counted(case: Case) -> Any:
        opened.append(case.id)
        return images_to_send(case)

    monkeypatch.setattr("medgym.rollout.ray.backend.images_to_send", counted)
    case = in_a_file(cases(1)[0], tmp_path)
    rules = Rules(tools=(Slow(),), view_size=64)
    done = list(played([case], lambda: RayBackend(SLOW, rules, workers=2), group_size=6))
    assert [t.failure for t in done] == [None] * 6
    assert opened == [case.id]


def test_a_team_plays_the_same_on_both() -> None:
    policy = load_policy("majority:2:scripted:random")
    made = [
        list(played(cases(3), make, seed=1))
        for make in (
            lambda: LocalBackend(policy, RULES),
            lambda: RayBackend(policy, RULES, workers=1),
        )
    ]
    assert content(made[0]) == content(made[1])

    class Holding(type(policy)):  # type: ignore[misc]
        local_model = True

    with pytest.raises(UserError, match="models of its own"):
        RayBackend(Holding(policy, 2), RULES)


def test_a_picture_comes_back_once() -> None:
    async def members() -> list[set[str]]:
        backend = RayBackend(SLOW, Rules(tools=(Slow(0.0),), view_size=64), workers=1,
                             stored=lambda sha256: sha256 == known)  # fmt: skip
        jobs = [collection.Job(cases(1)[0], member) for member in range(3)]
        done = [await backend.attempt(job) for job in jobs]
        await backend.close()
        shown = {use.sha256 for node in done[0].trajectory.nodes for use in node.images}
        return [shown, *(set(each.images) for each in done)]

    known = ""
    shown, *sent = asyncio.run(members())
    assert len(shown) == 4
    assert sent == [shown, set(), set()]  # the worker knows what has arrived
    known = min(shown)
    assert asyncio.run(members())[1] == shown - {known}  # and this process what is stored


def test_a_lease_ends_at_its_deadline_and_others_play_on(tmp_path: Path) -> None:
    rules = Rules(tools=(Slow(0.0, tmp_path / "hung"),), view_size=64)
    folder = RunFolder.create(tmp_path / "run", {})
    done = list(
        played(
            cases(6),
            lambda: RayBackend(SLOW, rules, workers=1, concurrency=2, lease=20.0),
            concurrency=2,
            out=folder,
        )
    )
    assert [t.failure for t in done] == [None] * 6
    assert folder.manifest["failures"].keys() == {"worker"}


def test_a_worker_that_answers_nothing_is_killed_and_its_episodes_are_played(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tool = Slow()
    tool.deadline_s = 7.0
    monkeypatch.setattr(backend, "LISTEN", 0.5)
    monkeypatch.setattr(backend, "SILENCE", 3.0)
    backends: list[RayBackend] = []

    def make() -> Backend:
        backends.append(RayBackend(SLOW, Rules(tools=(tool,), view_size=64)))
        return backends[0]

    async def hang() -> tuple[list[Trajectory], list[int]]:
        stream = collection.play(
            cases(12), make, policy="test", group_size=1, seed=0, concurrency=4
        )
        done = await anext(stream)
        (made,) = backends
        assert made._lease == 1800 + 6 * 7
        ready = [worker.actor.ready.remote(made._plan) for worker in made._workers]
        pids = [await each for each in ready]
        os.kill(pids[0], signal.SIGSTOP)
        done += [trajectory async for together in stream for trajectory in together]
        return done, pids

    done, pids = asyncio.run(hang())
    assert [t.failure for t in done] == [None] * 12
    end = time.monotonic() + 240
    while Path(f"/proc/{pids[0]}").exists() and time.monotonic() < end:  # Ray asks it first
        time.sleep(0.1)
    assert not Path(f"/proc/{pids[0]}").exists()


class Twice(Tool):
    """Doubles a number, for several episodes at once."""

    name = "twice"
    batch_size = 4
    resources: ClassVar[dict[str, float]] = {"num_cpus": 1}
    fails: ClassVar[tuple[int, ...]] = ()

    class Args(ToolArgs):
        number: int

    def __init__(self, log: Path, dies: Path | None = None) -> None:
        self.log, self.dies = log, dies

    def run_many(self, calls: Sequence[tuple[Any, Workspace]]) -> Sequence[ToolResult | ToolError]:
        with self.log.open("a") as stream:
            stream.write(f"{os.getpid()} {threading.get_ident()} {len(calls)}\n")
        if self.dies is not None:
            with suppress(FileExistsError):
                self.dies.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)  # the first time only
        time.sleep(0.02)
        return [self._one(args.number, workspace) for args, workspace in calls]

    def _one(self, number: int, workspace: Workspace) -> ToolResult | ToolError:
        if number == 13:
            return ToolError("twice: 13 is unlucky; expected another")
        seen = hashlib.sha256(workspace.studies[0].pixels.tobytes()).hexdigest()[:8]
        view = workspace.look(0, (0.0, 0.0, 9.0, 9.0), enlarge=True, made_by=self.name)
        shown = len(workspace.views) + len(workspace.view(0).picture.tobytes())
        return ToolResult(f"{2 * number} {seen} {shown}", (view,), {"number": number})

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        (result,) = self.run_many([(args, workspace)])
        if isinstance(result, ToolError):
            raise result
        return result


class Counting(Looking):
    """Asks for the double of a number that depends on the turn."""

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        turns = sum(message.role == "assistant" for message in conversation)
        call = render_call("twice", {"number": (7, 13, 20)[turns % 3]})
        return Reply(call if turns < self.times else render_answer("A"))


def batches(log: Path) -> tuple[set[str], list[int]]:
    """The processes that a tool ran in, and the sizes of its batches."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return {line[0] for line in lines}, [int(line[2]) for line in lines]


def test_a_tool_with_a_model_runs_in_one_place_and_in_batches(tmp_path: Path) -> None:
    policy = Counting("")
    alone = Rules(tools=(Twice(tmp_path / "alone"),), view_size=64)
    want = list(played(cases(8), lambda: LocalBackend(policy, alone), concurrency=1))
    assert "Error: twice: 13 is unlucky" in want[0].nodes[4].text
    assert re.search(r"^14 \w{8} \d+$", want[0].nodes[2].text, re.MULTILINE)

    rules = Rules(tools=(Twice(tmp_path / "ray", tmp_path / "died"),), view_size=64)
    made = list(played(cases(8), lambda: RayBackend(policy, rules, workers=1, concurrency=8)))
    assert by_key(made) == by_key(want)
    places, sizes = batches(tmp_path / "ray")
    assert len(places) == 2  # the actor that died and the one that came after it
    assert str(os.getpid()) not in places
    assert max(sizes) <= 4
    assert max(sizes) > 1


class Stuck(Tool):
    """Hangs as it is asked to, in its own actor or where the episode is played."""

    name = "stuck"
    deadline_s = 1.0

    class Args(ToolArgs):
        how: str

    def __init__(self, **resources: float) -> None:
        vars(self)["resources"] = resources

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        if args.how == "stop":  # the whole process
            os.kill(os.getpid(), signal.SIGSTOP)
        if args.how == "sleep":
            time.sleep(600)
        return ToolResult("on time")


class Asking(Looking):
    """Makes one call after the other, the last until it is on time, then answers."""

    def __init__(self, *how: str) -> None:
        self.how = how

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        if conversation[-1].text == "on time":
            return Reply(render_answer("A"))
        turns = sum(message.role == "assistant" for message in conversation)
        return Reply(render_call("stuck", {"how": (self.how + self.how[-1:] * 9)[turns]}))


@pytest.mark.parametrize(
    ("tool", "how"),
    [(Stuck(), ("sleep", "no")), (Stuck(num_cpus=1.0), ("sleep", "stop", "no"))],
    ids=["in a worker", "in an actor"],
)
def test_a_tool_that_hangs_is_an_observation_and_the_episode_goes_on(
    tool: Tool, how: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_tools, "SLACK", 5.0)
    rules = Rules(tools=(tool,), view_size=64, max_turns=9)
    (done,) = played(cases(1), lambda: RayBackend(Asking(*how), rules, workers=1))
    late = "Error: stuck took longer than 1 s and was stopped; expected another call or an answer."
    told = [node.text for node in done.nodes if node.role == "tool"]
    assert told == [late] * (len(told) - 1) + ["on time"]  # a restart may take its time too
    assert done.faults == ("late:stuck",) * (len(told) - 1)
    assert len(told) >= len(how)


class Drifting(Looking):
    """Counts a drift at every turn."""

    drifts = 5  # of some earlier run

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        self.drifts += 1
        return await super().act(conversation, sampling)


@pytest.mark.parametrize("kind", [LocalBackend, partial(RayBackend, workers=1)])
def test_drifts_are_counted_in_the_manifest(kind: Any, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    policy = Drifting(render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]}))
    list(played(cases(3), lambda: kind(policy, RULES), out=folder))
    assert folder.manifest["drifts"] == 12


class Once(Looking):
    """Answers who wait together at once, as a model does, and counts them."""

    local_model = True
    kind = "text"
    version = "v7"

    def __init__(self, log: Path, crowd: int = 5) -> None:
        super().__init__(render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]}), 2)
        self.log, self.crowd = log, crowd
        self.inside = self.waiting = self.most = 0

    def enter(self) -> None:
        self.inside += 1

    def leave(self) -> None:
        self.inside -= 1

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        self.waiting += 1
        for _ in range(2000):  # at first until both workers have come, however slowly one starts
            await asyncio.sleep(0.05)
            self.most = max(self.most, self.waiting)
            if self.most >= self.crowd:
                break
        shown = sum(len(message.images) for message in conversation)
        with self.log.open("a") as stream:
            told = f"{self.inside} {self.waiting} {len(conversation)} {shown}"
            stream.write(f"{os.getpid()} {told}\n")
        self.waiting -= 1
        return await super().act(conversation, sampling)


def test_a_model_lives_once_and_every_worker_asks_it(tmp_path: Path) -> None:
    backends: list[RayBackend] = []
    policy = Once(tmp_path / "log")

    def make() -> Backend:
        backends.append(RayBackend(policy, RULES, concurrency=8))
        return backends[0]

    stream = played(cases(16), make)
    done = [next(stream) for _ in range(4)]
    ray.kill(backends[0]._model, no_restart=False)  # and is built again
    done += stream
    assert [(t.failure, t.version, t.policy) for t in done] == [(None, "v7", "looking")] * 16
    rows = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len({row[0] for row in rows}) == 2
    assert str(os.getpid()) not in {row[0] for row in rows}
    assert max(int(row[1]) for row in rows) > 4  # who plays on the other worker counts too
    assert max(int(row[2]) for row in rows) > 4
    assert {(int(row[3]), int(row[4])) for row in rows} == {(2, 1), (4, 2), (6, 3)}


def test_what_a_policy_is_told_survives_a_restart(tmp_path: Path) -> None:
    async def talk() -> None:
        actor = PolicyActor({})
        part = packed(Once(tmp_path / "log", crowd=1), "the policy")
        asks = [Message("system", ()), Message("user", ())]
        more = [Message("assistant", ()), Message("tool", ())]
        await actor.enter(0)  # nothing is made: it is only not waited for
        assert (await actor.ready(part))["version"] == "v7"
        policy = actor._unpacked.thing
        assert policy.inside == 0
        await actor.enter(1)
        await actor.enter(2)
        assert policy.inside == 2
        assert await actor.act(part, 1, 0, asks, Sampling()) is not None
        assert await actor.act(part, 1, 2, more, Sampling()) is not None
        assert await actor.act(part, 1, 2, more, Sampling()) is not None  # asked again
        assert "4 0" in (tmp_path / "log").read_text().splitlines()[-1]
        assert await actor.act(part, 2, 2, more, Sampling()) is None  # it was told nothing before
        assert await actor.act(part, 3, 2, more, Sampling()) is None
        assert await actor.act(part, 3, 0, [*asks, *more], Sampling()) is not None
        for lease in (1, 1, 3):
            await actor.leave(lease)
        assert policy.inside == 1

    asyncio.run(talk())


TICKET: ContextVar[int] = ContextVar("ticket", default=0)


class Ticketed(Once):
    """Gives out tickets, as one does that sorts its batches by them."""

    local_model = True

    def enter(self) -> None:
        super().enter()
        TICKET.set(self.inside)

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        return Reply(str(TICKET.get()))


def test_an_episode_keeps_its_context_in_the_actor(tmp_path: Path) -> None:
    async def talk() -> list[str]:
        actor = PolicyActor({})
        actor._unpacked.thing = Ticketed(tmp_path)
        part = packed(None, "nothing")
        await actor.enter(7)
        await actor.enter(8)
        asked = [await actor.act(part, lease, 0, (), Sampling()) for lease in (7, 8, 9)]
        return [reply.text for reply in asked if reply is not None]

    assert asyncio.run(talk()) == ["1", "2", "0"]


class Wrong(Looking):
    """Raises what it is given."""

    def __init__(self, error: Exception, hangs_on: Any = None) -> None:
        super().__init__("")
        self.error, self.hangs_on = error, hangs_on

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        raise self.error


def test_a_transformers_model_plays_from_its_actor(tiny_folder: Path) -> None:
    here = load_policy(f"hf:{tiny_folder}")
    asked: dict[str, Any] = {"sampling": Sampling(max_tokens=8), "concurrency": 4}
    want = by_key(list(played(cases(4), lambda: LocalBackend(here, RULES, **asked))))
    assert unpacked(packed_policy(here)).spec == here.spec  # it travels even after it has played

    policy = named(f"hf:{tiny_folder}")  # but needs not
    assert isinstance(policy, NamedPolicy)
    made = by_key(list(played(cases(4), lambda: RayBackend(policy, RULES, workers=1, **asked))))
    for one, other in zip(made, want, strict=True):
        validate(one)
        assert (one.kind, one.policy) == ("sampled", f"hf:{tiny_folder}")
        assert [n.token_ids for n in one.nodes] == [n.token_ids for n in other.nodes]
        assert one.vision_token_ids == other.vision_token_ids


def test_errors_come_back_as_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "RETRIES", 1)
    lost = cases(1)[0].model_copy(update={"images": (ImageRef(uri="file:/no/such.png"),)})

    final = Failure("tool", "broke", True)

    async def attempts() -> list[Any]:
        found: list[Any] = []
        for error in (UserError("asked wrongly"), RunError("failed"), final):
            backend = RayBackend(Wrong(error), RULES, workers=1)
            for case in (cases(1)[0], lost):
                try:
                    await backend.attempt(collection.Job(case, 0))
                except Exception as raised:
                    found.append(raised)
            await backend.close()
        return found

    asked, missing, failed, _, broke, _ = asyncio.run(attempts())
    assert (type(asked), str(asked)) == (UserError, "asked wrongly")
    assert (type(failed), str(failed)) == (RunError, "failed")
    assert (type(broke), broke.boundary, broke.reason, broke.final) == (
        Failure, "tool", "broke", True)  # fmt: skip
    assert (missing.boundary, missing.final) == ("image", True)
    assert "no such image: image 0" in missing.reason


class Ending(Slow):
    """Raises what would end a process."""

    name = "ending"

    def __call__(self, args: Slow.Args, workspace: Workspace) -> ToolResult:
        raise SystemExit


class EndingBatch(Slow):
    """Raises what would end a process, in an actor."""

    name = "batch"
    batch_size = 2

    def __call__(self, args: Slow.Args, workspace: Workspace) -> ToolResult:
        raise KeyboardInterrupt


class EndingPolicy(Policy):
    """Raises what would end a process, in a worker or an actor, or calls a tool that does."""

    spec = "ends"

    def __init__(self, model: bool) -> None:
        self.local_model = model

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        if sampling.seed % 4 == 0:
            raise SystemExit
        if sampling.seed % 4 == 1:
            raise KeyboardInterrupt
        return Reply(render_call("ending" if sampling.seed % 4 == 2 else "batch", {}))


@pytest.mark.parametrize("model", [False, True])
def test_what_would_end_a_process_fails_the_episode_and_ends_none(
    model: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "RETRIES", 0)
    rules = Rules(tools=(Ending(), EndingBatch()), view_size=64)
    make = partial(RayBackend, EndingPolicy(model), rules, workers=1)
    failures = [t.failure or "" for t in played(cases(1), make, group_size=16)]
    found = {failure.partition(" at ")[0] for failure in failures}
    name = "EndingPolicy" if model else "ends"
    assert found == {
        "tool: ending raised SystemExit",
        "tool: batch raised KeyboardInterrupt",
        f"policy: {name} raised SystemExit",
        f"policy: {name} raised KeyboardInterrupt",
    }


def test_errors_that_pickling_would_lose_become_their_own_kind() -> None:
    class Local(UserError):
        pass

    plain = Failure("store", "full")
    assert sendable(plain) is plain
    assert sendable(ValueError("odd")).args == ("worker: ValueError",)
    assert type(sendable(Local("fix"))) is UserError
    assert type(sendable(InvariantError(1, "drift"))) in (RunError, InvariantError)
    died = unwrapped(ray.exceptions.WorkerCrashedError())
    assert isinstance(died, Failure)
    assert died.boundary == "worker"
    assert "\n" not in str(died)


def test_what_cannot_travel_is_named() -> None:
    policy = Wrong(UserError(), threading.Lock())
    policy.spec = ""
    with pytest.raises(UserError, match="Wrong cannot be sent"):
        packed_policy(policy)
    policy.spec = "scripted:prior"  # from which it can be built there
    assert unpacked(packed_policy(policy)).spec == "scripted:prior"
    tool = Slow()
    tool.hangs = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"a tool or the rubric cannot be sent .*; fix: "):
        RayBackend(SLOW, Rules(tools=(tool,)))


def test_an_endpoint_travels_with_its_password() -> None:
    policy = load_policy("openai:http://me:secret@127.0.0.1:1/v1?timeout=3#base")
    there: Any = unpacked(packed_policy(policy))
    assert there.spec == policy.spec == "openai:http://127.0.0.1:1/v1?timeout=3#base"
    assert there._endpoint._headers == policy._endpoint._headers  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="nothing answers"):
        asyncio.run(there.check())
    there.close()


def test_a_model_may_be_named_and_not_loaded_here() -> None:
    assert not isinstance(named("scripted:prior"), NamedPolicy)
    with pytest.raises(UserError, match="unknown scripted policy"):
        named("scripted:nobody")
    policy = NamedPolicy("scripted:prior")
    done = list(played(cases(2), lambda: RayBackend(policy, RULES, workers=1)))
    assert {t.policy for t in done} == {"scripted:prior"}
    with pytest.raises(UserError, match="plays only on Ray"):
        list(played(cases(1), lambda: LocalBackend(policy, RULES)))


def test_a_policy_that_cannot_be_built_there_is_the_users_to_mend() -> None:
    policy = NamedPolicy("scripted:nobody")
    with pytest.raises(UserError, match="unknown scripted policy"):
        list(played(cases(2), lambda: RayBackend(policy, RULES, workers=1)))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1"])
def test_an_address_without_a_cluster_is_refused_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UserError, match=r"; fix: ") as error:
        join(address, cpus=1)
    assert "\n" not in str(error.value)


def in_a_process(words: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-c", "from medgym.cli import main; main()", *words],
        env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_the_command_joins_a_running_cluster_and_leaves_it_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = ray.get_runtime_context().gcs_address
    words = ["rollout", CASES.format(3), "--policy", "scripted:random", "--json", "--out"]
    assert main([*words, str(tmp_path / "local")]) == 0
    here = json.loads(capsys.readouterr().out)
    on_ray = ["--backend", "ray", "--workers", "1", "--ray-address"]
    for name, asked, known in (("a", "auto", address), ("b", address, "127.0.0.1:1")):
        out = str(tmp_path / name)
        # Only with this setting does Ray join a cluster that listens on the loopback alone.
        reach = {"RAY_ADDRESS": known, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        there = in_a_process([*words, out, *on_ray, asked], **reach)
        assert json.loads(there.stdout) == here | {"out": out}
        for line in there.stderr.splitlines():  # none of Ray's
            assert line.startswith("episodes: ")
    assert ray.cluster_resources()["CPU"] == 4


def test_without_ray_the_mend_is_named(tmp_path: Path) -> None:
    words = f"rollout phantom:test[:1] --policy scripted:prior --backend ray --out {tmp_path}/a"
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['ray'] = None; import medgym.cli as c; "
         f"sys.argv[1:] = {words.split()!r}; sys.exit(c.main())"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("medgym: ray is not installed; fix: pip install ")
    assert done.stderr.endswith("[ray]'\n")
    assert not (tmp_path / "a").exists()


class Heavy(Slow):
    resources: ClassVar[dict[str, float]] = {"lasers": 3.0}


def test_what_makes_no_sense_is_refused() -> None:
    def collected(**options: Any) -> None:
        list(collect(cases(1), load_policy("scripted:prior"), RULES, **options))

    with pytest.raises(UserError, match="unknown back end 'rai'; did you mean 'ray'"):
        collected(backend="rai")
    with pytest.raises(UserError, match="needs the back end ray"):
        collected(ray_address="auto")
    with pytest.raises(UserError, match="needs the back end local"):
        collected(backend="ray", on_messages=print)
    with pytest.raises(UserError, match="workers are 1 or more"):
        collected(backend="ray", workers=0)
    with pytest.raises(UserError, match="want 3 lasers of the Ray cluster, which has 0; fix: "):
        list(collect(cases(1), SLOW, Rules(tools=(Heavy(),)), backend="ray"))


def test_branches_are_those_of_this_process() -> None:
    asked: dict[str, Any] = {"group_size": 2, "ordered": True}
    origins = list(collect(cases(2), "scripted:random", RULES, **asked))
    pairs = [next(each for each in origins if each.case_id == c.id) for c in cases(2)]
    asked["resume_from"] = [(each, min(1, each.turns - 1)) for each in pairs]
    here = list(collect(cases(2), "scripted:random", RULES, **asked))
    there = list(collect(cases(2), "scripted:random", RULES, backend="ray", workers=1, **asked))
    assert here == there
    assert [each.fork is not None for each in there] == [True] * 4


def test_pivots_are_those_of_this_process() -> None:
    origins = collect(cases(2), "scripted:oracle", RULES, ordered=True)
    pivots = Pivots.of(zip(cases(2), origins, strict=True), "all").pivots
    asked: dict[str, Any] = {"policy": load_policy("scripted:random"), "rules": RULES}
    asked["sampling"] = Sampling(temperature=0.0)
    here = by_key(list(ask(pivots, **asked)))
    there = by_key(list(ask(pivots, **asked, backend="ray", workers=1)))
    assert here == there
    assert len(there) == 2
