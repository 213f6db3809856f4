"""Cases wait for room for their images, each gets its turn, and what they play stays the same."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medgym.cases import Case, open_cases
from medgym.daemon_threads import DaemonThreads
from medgym.episode import Rules
from medgym.errors import ToolError
from medgym.failures import Failure
from medgym.imaging.opened import OpenedImage
from medgym.imaging.study import ImageRef, Study
from medgym.memory import VARIABLE, machine_memory
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import collect, collection, image_memory, local
from medgym.rollout.backend import Backend, Finished, Job
from medgym.rollout.collection import Tally, play, settle
from medgym.rollout.image_memory import ImageMemory, note_sizes
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.trajectory import failed_trajectory
from medgym.workspace import Workspace

LIMIT = 100
PHANTOM = open_cases("phantom:train[:1]")[0]


def case(number: int, size: int) -> Case:
    """A case whose image takes so many bytes, as far as is known of its source."""
    image_memory._largest[f"s{size}"] = size
    images = (ImageRef(uri=f"s{size}:{number}"),)
    return PHANTOM.model_copy(update={"id": f"x/t/{number}", "images": images})


@pytest.fixture(autouse=True)
def _forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_memory, "_largest", {})


@given(
    sizes=st.lists(st.integers(0, 150), min_size=1, max_size=9),
    members=st.integers(1, 3),
    cancelled=st.sets(st.integers(0, 26)),
)
def test_the_images_of_all_that_play_fit_and_everyone_plays(
    sizes: list[int], members: int, cancelled: set[int]
) -> None:
    memory = ImageMemory(LIMIT)
    playing: dict[int, int] = {}
    played: list[int] = []

    async def episode(number: int, size: int) -> None:
        async with memory.room(case(number, size)):
            playing[number] = playing.get(number, 0) + 1
            taken = [sizes[other] for other in playing]
            assert sum(taken) <= LIMIT or sum(taken) == max(taken)
            try:
                for _ in range(1 + number % 3):
                    await asyncio.sleep(0)
            finally:
                playing[number] -= 1
                if not playing[number]:
                    del playing[number]
        played.append(number)

    async def all_of_them() -> int:
        tasks = [
            asyncio.create_task(episode(number, size))
            for number, size in enumerate(sizes)
            for _ in range(members)
        ]
        await asyncio.sleep(0)
        for index in cancelled:
            if index < len(tasks):
                tasks[index].cancel()
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        errors = [error for error in done if isinstance(error, Exception)]
        assert not errors
        return sum(isinstance(each, asyncio.CancelledError) for each in done)

    stopped = asyncio.run(all_of_them())
    if not cancelled:
        assert not stopped
    assert len(played) + stopped == len(sizes) * members
    assert (memory._taken, memory._shares, list(memory._waiting)) == (0, {}, [])


def test_cases_of_unequal_size_keep_their_order() -> None:
    """A large case is not passed by for ever by small ones."""
    memory, order = ImageMemory(LIMIT), []

    async def episode(number: int, size: int) -> None:
        async with memory.room(case(number, size)):
            order.append(number)
            await asyncio.sleep(0.001)

    async def all_of_them() -> None:
        sizes = [60, 90, 10, 10, 10, 150, 10]
        await asyncio.gather(*(episode(number, size) for number, size in enumerate(sizes)))

    asyncio.run(all_of_them())
    assert order == list(range(7))


def test_more_than_the_machine_is_refused_in_one_line() -> None:
    memory = ImageMemory(LIMIT)

    async def episode() -> None:
        async with memory.room(case(0, machine_memory() + 1)):
            pass

    with pytest.raises(Failure, match=r"this machine has .*; fix: cut or shrink") as error:
        asyncio.run(episode())
    assert error.value.final
    assert memory._shares == {}


class Counting(Backend):
    """Plays nothing, and counts how many episodes do that at once."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def attempt(self, job: Job) -> Finished:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        return Finished(failed_trajectory(job.case, policy="", seed=0, member=0, failure="x"))


def test_every_back_end_admits_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "100")
    cases = [case(number, 40) for number in range(9)]
    collecting, training = Counting(), Counting()

    async def all_of_them() -> None:
        options: dict[str, Any] = {"policy": "", "seed": 0}
        stream = play(cases, lambda: collecting, group_size=1, concurrency=9, **options)
        assert len([each async for together in stream for each in together]) == 9
        jobs = [Job(each, 0) for each in cases]
        settled = settle(jobs, training, tally=Tally(), **options)
        assert len([each async for each in settled]) == 9

    asyncio.run(all_of_them())
    assert collecting.most == training.most == 2


def test_an_image_of_a_source_is_measured_once_it_is_drawn() -> None:
    refs = [ImageRef(uri="grey:0"), ImageRef(uri="colour:0"), ImageRef(uri="file:a.png")]
    grey, colour = np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3), np.uint8)
    note_sizes(refs, [OpenedImage.of(Study(each)) for each in (grey, colour, grey)])
    assert image_memory._largest == {"grey": 20 * 3, "colour": 20 * 10}
    memory = ImageMemory(LIMIT)

    async def episode() -> int:
        async with memory.room(PHANTOM):
            return memory._taken

    assert asyncio.run(episode()) == image_memory._largest["phantom"] > 0


def on_disk(path: Path, side: int) -> Case:
    """A case of a picture of grey values."""
    Image.new("L", (side, side), 7).save(path)
    return PHANTOM.model_copy(update={"id": path.name, "images": (ImageRef(uri=path.as_uri()),)})


def test_a_small_image_is_opened_with_its_header(tmp_path: Path) -> None:
    small, large = on_disk(tmp_path / "small.png", 8), on_disk(tmp_path / "large.png", 2000)
    broken = on_disk(tmp_path / "broken.png", 8)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    memory, other = ImageMemory(10**9, opens=True), ImageMemory(10**9)

    async def opened(memory: ImageMemory, case: Case) -> list[OpenedImage] | None:
        assert memory.opened(case) is None
        async with memory.room(case):
            return memory.opened(case)

    found = asyncio.run(opened(memory, small))
    assert found is not None
    assert found[0].start.pixels[3, 4] == 7
    assert memory.opened(small) is None  # they are free with the last episode
    assert [asyncio.run(opened(memory, each)) for each in (large, broken)] == [None, None]
    assert asyncio.run(opened(other, small)) is None


def test_headers_that_no_thread_can_read_hold_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refused(self: threading.Thread) -> None:
        if self.name.startswith("none"):
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr(image_memory, "_HEADERS", DaemonThreads("none", 1))
    case, memory = on_disk(tmp_path / "a.png", 8), ImageMemory(10**9, opens=True)

    async def opened() -> list[OpenedImage] | None:
        async with memory.room(case):
            return memory.opened(case)

    assert asyncio.run(asyncio.wait_for(opened(), 60)) is None


def test_a_small_image_is_read_once_and_one_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [on_disk(tmp_path / f"{name}.png", 8) for name in "ab"]
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    asked: list[str] = []
    decode = local.decoded

    def noted(case: Case) -> list[OpenedImage]:
        asked.append(case.id)
        return decode(case)

    monkeypatch.setattr(local, "decoded", noted)
    played = {each.case_id: each.failure for each in collect(cases, "scripted:random")}
    assert played["a.png"] is None
    assert "readable PNG" in str(played["b.png"])
    assert set(asked) == {"b.png"}


ROLLED_OUT = """
import json, os, sys
from pathlib import Path
import numpy as np
from PIL import Image
from medgym import collect
from medgym.cases import Case
from medgym.imaging.study import ImageRef

folder = Path(sys.argv[1])
rows = np.arange(2000, dtype=np.uint16)
Image.fromarray(rows[:, None] + rows).save(folder / "large.tiff")
Image.fromarray(rows[:300, None] + rows[:300]).save(folder / "small.tiff")

def cases(name, count):
    for number in range(count):
        path = folder / f"{number}-{name}"
        path.symlink_to(name)
        yield Case(
            id=f"x/t/{number}", images=(ImageRef(uri=f"file:{path}"),), question="Which?",
            options=("a", "b"), answer="a", answer_type="choice", group=name, source="x", split="t",
        )

def played(cases, concurrency):
    stream = collect(cases, "scripted:random", concurrency=concurrency, ordered=True)
    return [repr(each) for each in stream]

def peak():
    with open("/proc/self/status") as status:  # getrusage counts the process that started it too
        return int(status.read().partition("VmHWM:")[2].split()[0]) * 1024

played(list(cases("small.tiff", 64)), 64)  # what threads and libraries take
large, before = list(cases("large.tiff", 14)), peak()
at_once = played(large, 64)
grown = peak() - before
print(json.dumps([grown, at_once == played(large[:3], 1) + at_once[3:]]))
"""


def test_large_images_stay_within_the_memory_that_is_declared(tmp_path: Path) -> None:
    """14 images of 2000 x 2000 take 224 MB decoded, and all episodes would play at once."""
    budget = 128 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", ROLLED_OUT, tmp_path],
        env={**os.environ, VARIABLE: str(budget)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    grown, same = json.loads(done.stdout)
    assert same
    assert grown < budget


class Refuses(Tool):
    """Raises."""

    name = "raises"

    class Args(ToolArgs):
        pass

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        raise ToolError("no")


class RefusesDirectly(Refuses):
    """Raises, without a deadline."""

    deadline_s = None


class RefusesMany(Refuses):
    """Raises in a batch."""

    batch_size = 2


class Crashes(RefusesDirectly):
    """Crashes."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        raise ValueError


class CrashesMany(Refuses):
    """Crashes in a batch."""

    batch_size = 2

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        raise ValueError


class Caller(Policy):
    """Calls the tool, then answers."""

    spec = "caller"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        text = render_call("raises", {}) if len(conversation) < 3 else render_answer("A")
        return Reply(text)


@pytest.mark.parametrize("kind", [Refuses, RefusesDirectly, RefusesMany, Crashes, CrashesMany])
def test_what_a_tool_raises_keeps_no_image(
    kind: type[Tool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory that an episode gives back is free at once, not at the next search for garbage."""
    opened: list[weakref.ref[Study]] = []

    def noted(case: Case) -> list[Study]:
        studies = decoded(case)
        opened.extend(map(weakref.ref, studies))
        return studies

    decoded = local.decoded
    monkeypatch.setattr(local, "decoded", noted)
    monkeypatch.setattr(collection, "BACK_OFF", 0.0)
    gc.disable()
    try:
        for _ in collect([PHANTOM], Caller(), Rules(tools=(kind(),), view_size=64)):
            pass
        end = time.monotonic() + 60
        while any(study() is not None for study in opened) and time.monotonic() < end:
            time.sleep(0.01)
        assert opened
        assert all(study() is None for study in opened)
    finally:
        gc.enable()
