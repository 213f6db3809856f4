"""Whatever dies, fills up or answers wrongly on the way: the run that comes out is the same one.

Real processes and real signals: workers are killed with SIGKILL while they play, the store's folder
is full for a while, and an endpoint answers 500, hangs, and closes half-way.
"""

import errno
import importlib.util
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("ray") is None:  # not imported: medgym sets how it is to be, first
    pytest.skip("Ray is not installed", allow_module_level=True)

from medgym.cases import open_cases
from medgym.episode import Rules
from medgym.messages import render_answer, render_call
from medgym.policy import Policy, load_policy
from medgym.rollout import Tally, collect, collection, keeper
from medgym.rollout.ray.cluster import join, ray
from medgym.storage.run_folder import RunFolder, content
from medgym.storage.trajectories import ImageStore, TrajectoryStore
from medgym.tool import Tool, ToolArgs, ToolResult, load_tools
from medgym.trajectory import Trajectory, validate
from medgym.workspace import Workspace
from tests.serving.fake_server import Handler, answer, failing, hang, running

# A worker that was killed comes up again in a second, or in twenty on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
CASES = open_cases("phantom,look=ct,question=kind:train[:16]")
EPISODES = 2 * len(CASES)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    joined = join(None, cpus=4)
    yield
    joined.leave()


class Slow(Tool):
    """Looks at the whole image, after a while, and says in a file which process does."""

    name = "slow"

    class Args(ToolArgs):
        pass

    def __init__(self, log: Path) -> None:
        self.log = log

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        import time

        with self.log.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(0.05)
        number = len(workspace.views)
        box_px = (float(number), 0.0, float(number + 64), 64.0)
        return ToolResult(views=(workspace.look(0, box_px, enlarge=True, made_by=self.name),))


class Killer:
    """Kills the worker that called a tool last, again and again."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.killed: list[int] = []

    def strike(self) -> None:
        for pid in reversed([int(line) for line in self.log.read_text().split()]):
            if pid not in (os.getpid(), *self.killed):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.killed.append(pid)
                return


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Of both stores, the 2nd to the 5th writing find a full disk."""
    written: Counter[str] = Counter()

    def refuse(kind: str) -> None:
        written[kind] += 1
        if 2 <= written[kind] <= 5:
            raise OSError(errno.ENOSPC, "No space left on device")

    write, put = TrajectoryStore.write, ImageStore.put_png

    def write_later(self: Any, *args: Any, **options: Any) -> Any:
        refuse("part")
        return write(self, *args, **options)

    def put_later(self: Any, *args: Any) -> Any:
        refuse("image")
        return put(self, *args)

    monkeypatch.setattr(TrajectoryStore, "write", write_later)
    monkeypatch.setattr(ImageStore, "put_png", put_later)
    monkeypatch.setattr(keeper, "FLUSH_COUNT", 5)
    monkeypatch.setattr(keeper, "PAUSE", 0.05)
    monkeypatch.setattr(collection, "BACK_OFF", 0.05)
    monkeypatch.setattr(collection, "RETRIES", 12)  # some requests are late on a busy machine
    return written


def chaos(policy: Policy, rules: Rules, log: Path, folder: RunFolder) -> tuple[Killer, Tally]:
    """Play while workers are killed; returns who was killed and what was counted."""
    killer, tallies = Killer(log), [Tally()]
    stream = collect(
        CASES,
        policy,
        rules,
        group_size=2,
        seed=3,
        backend="ray",
        workers=2,
        concurrency=8,
        out=folder,
        on_failure=tallies.append,
    )
    for number, trajectory in enumerate(stream):
        assert trajectory.failure is None
        if number in (2, 10, 18):  # while there are enough episodes for each worker to play one
            killer.strike()
    return killer, tallies[-1]


def check_whole(folder: RunFolder, undisturbed: list[Trajectory]) -> None:
    kept = list(folder.trajectories)
    assert len(kept) == EPISODES == len({(t.case_id, t.member) for t in kept})
    assert content(kept) == content(undisturbed)
    shown = set()
    for trajectory in kept:
        validate(trajectory)
        shown |= {use.sha256 for node in trajectory.nodes for use in node.images}
    assert shown == {path.stem for path in folder.images.path.rglob("*.png")}
    for sha256 in shown:
        assert folder.images.get(sha256)
    assert folder.manifest["failed"] == {}


def test_killed_workers_and_a_full_disk_change_nothing(tmp_path: Path, full: Counter[str]) -> None:
    rules = Rules(tools=(Slow(tmp_path / "log"), *load_tools(["zoom"])), view_size=64)
    policy = load_policy("scripted:random")
    folder = RunFolder.create(tmp_path / "run", {})
    killer, tally = chaos(policy, rules, tmp_path / "log", folder)
    assert len(killer.killed) >= 3
    assert folder.manifest["failures"] == tally.failures
    assert tally.failures["store"] == 8
    # While one worker restarts, the other may play all eight episodes that are in flight.
    assert len(killer.killed) <= tally.failures["worker"] <= 8 * len(killer.killed)
    check_whole(folder, list(collect(CASES, policy, rules, group_size=2, seed=3)))


def test_neither_does_an_endpoint_that_answers_wrongly(tmp_path: Path, full: Counter[str]) -> None:
    asked: Counter[int] = Counter()
    dealt: Counter[str] = Counter()
    faults = {"500": failing(500), "break": lambda handler, _: handler.break_off(), "hang": hang}

    def play(handler: Handler, body: Any) -> None:
        looks = sum(m["role"] == "assistant" for m in body["messages"])
        text = render_call("slow", {}) if looks < 3 else render_answer("B")
        with server.lock:
            asked[body["seed"]] += 1  # each turn of each episode has a seed of its own
            name = fault_of(looks, body["seed"], asked[body["seed"]])
            dealt[name] += 1
        (faults.get(name) or answer(text))(handler, body)

    def fault_of(turn: int, seed: int, time: int) -> str:
        """Which fault a request meets: by what it asks for, not by when it comes, so that however
        slow the machine no episode fails more often than it is played again."""
        if not disturbed:
            return "none"
        if turn == 1 and seed % 2 and time <= 2:  # as often as a request is repeated: it fails
            return "500"
        if turn == 2 and seed % 3 and time == 1:
            return "break"
        if turn == 3 and not seed % 8 and time == 1 and dealt["hang"] < 4:
            return "hang"
        return "none"

    disturbed = True
    rules = Rules(tools=(Slow(tmp_path / "log"),), view_size=64)
    with running() as server:
        server.scripted(play)
        spec = f"openai:{server.url}?timeout=5&retries=1#base"
        policy = load_policy(spec)
        folder = RunFolder.create(tmp_path / "run", {})
        killer, tally = chaos(policy, rules, tmp_path / "log", folder)
        disturbed = False
        undisturbed = list(collect(CASES, policy, rules, group_size=2, seed=3))
        policy.close()
    assert len(killer.killed) >= 3
    assert tally.failures["store"] == 8
    assert len(killer.killed) <= tally.failures["worker"]
    assert tally.failures["policy"] > 0
    assert all(dealt[name] > 0 for name in faults)
    check_whole(folder, undisturbed)
