"""Collecting survives what goes wrong: nothing lost, nothing twice, no failure scored."""

import errno
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medgym.cases import Case, case_hash, open_cases
from medgym.cli import main
from medgym.episode import Rules
from medgym.errors import RunError, UserError
from medgym.failures import Failure, withheld_of
from medgym.imaging.study import ImageRef
from medgym.messages import Message, Reply, render_answer, render_call
from medgym.policy import Policy, Sampling, load_policy
from medgym.rollout import Tally, collect, collection, keeper
from medgym.storage.run_folder import RunFolder, content
from medgym.storage.trajectories import TrajectoryStore
from medgym.tool import Tool, ToolArgs, ToolResult, load_tools
from medgym.trajectory import validate

RULES = Rules(tools=load_tools(["zoom"]), view_size=64)
CASES = "phantom,look=radiograph,question=kind:train[:12]"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "BACK_OFF", 0.0)
    monkeypatch.setattr(keeper, "PAUSE", 0.0)


class Flaky(Policy):
    """Looks and answers; fails at the first request of each case, or always for one of them."""

    spec = "flaky"

    def __init__(self, hopeless: str = "") -> None:
        self.hopeless = hopeless
        self.seen: Counter[int] = Counter()

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        self.seen[sampling.seed] += 1
        if self.hopeless and self.hopeless in conversation[1].text:
            raise ConnectionError("the endpoint closed half-way\nand said more")
        if len(conversation) > 2:
            return Reply(render_answer("A"))
        if self.seen[sampling.seed] == 1:
            raise TimeoutError("no answer in 5 s")
        return Reply(render_call("zoom", {"view": 0, "box": [0, 0, 500, 500]}))


class Breaks(Tool):
    """Breaks down at its first call, as a tool with a service behind it may."""

    name = "breaks"

    class Args(ToolArgs):
        """No arguments."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, args: Any, workspace: Any) -> ToolResult:
        self.calls += 1
        if self.calls == 1:
            raise MemoryError("out of memory")
        return ToolResult("done")


class Calls(Policy):
    """Calls `breaks`, then answers."""

    spec = "calls"

    async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
        return Reply(render_call("breaks", {}) if len(conversation) == 2 else render_answer("A"))


def played(policy: Policy, out: RunFolder | None = None, **options: Any) -> list[Any]:
    return list(collect(open_cases(CASES), policy, RULES, out=out, **options))


def test_a_case_that_changed_under_its_id_is_not_taken_for_played(tmp_path: Path) -> None:
    some = list(open_cases(CASES)[:3])
    folder = RunFolder.create(tmp_path / "a", "")
    list(collect(some[:2], load_policy("scripted:prior"), RULES, out=folder))
    stored = list(folder.trajectories)
    hashes = {case.id: case_hash(case) for case in some[:2]}
    assert {each.case_id: each.case_hash for each in stored} == hashes
    changed = some[1].model_copy(update={"images": some[2].images})
    cases = [some[0], changed, some[2]]
    with pytest.raises(UserError, match=f"the case {changed.id!r} has changed since the run"):
        list(collect(cases, load_policy("scripted:prior"), RULES, out=folder))
    assert len(folder.trajectories) == 2, "nothing was played"
    # A run of before trajectories had the hash is resumed by ids, as it was then.
    older = RunFolder.create(tmp_path / "b", "")
    older.trajectories.write([replace(each, case_hash="") for each in stored])
    assert len(list(collect(cases, load_policy("scripted:prior"), RULES, out=older))) == 1
    assert content(stored) == content(list(older.trajectories)[:2]), "it counts in no content hash"


def test_what_is_held_is_not_played_again_however_far_the_others_are(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "")
    prior = load_policy("scripted:prior")
    list(collect(CASES, prior, RULES, out=folder))
    fresh = list(collect(CASES, prior, RULES, out=folder, group_size=2, concurrency=1))
    assert [each.member for each in fresh] == [1] * 12
    assert len(folder.trajectories) == 24


def test_a_failed_attempt_is_played_again_from_a_fresh_environment(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", "")
    trajectories = played(Flaky(), folder)
    assert len(trajectories) == 12
    for trajectory in trajectories:
        validate(trajectory)
        assert trajectory.failure is None
        assert len(trajectory.looks) == 1, "nothing of the failed attempt is left"
    assert folder.manifest["failures"] == {"policy": 12}
    assert folder.manifest["failed"] == {}


def test_a_tool_that_breaks_down_is_a_failure_and_no_observation() -> None:
    tallies: list[Tally] = []
    stream = collect(
        open_cases(CASES)[:1],
        Calls(),
        Rules(tools=(Breaks(),), view_size=64),
        on_failure=tallies.append,
    )
    (trajectory,) = stream
    assert trajectory.failure is None
    assert "done" in trajectory.nodes[2].text
    assert dict(tallies[-1].failures) == {"tool": 1}


def test_what_fails_for_good_is_named_and_never_scored(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "a", "")
    trajectories = played(Flaky(hopeless="View 0"), folder, group_size=2)
    assert len(trajectories) == 24
    for trajectory in trajectories:
        validate(trajectory)
        assert trajectory.reward is None
        failure = trajectory.failure or ""
        assert re.fullmatch(r"policy: flaky raised ConnectionError at \w+\.py:\d+", failure)
    assert len(folder.manifest["failed"]) == 24
    assert "phantom/train/radiograph-512-kind-0#1" in folder.manifest["failed"]
    assert len(folder.trajectories) == 0
    assert len(played(load_policy("scripted:prior"), folder, group_size=2)) == 24, "tried again"


def test_a_missing_image_fails_its_case_at_once() -> None:
    lost = Case(
        id="own/test/1",
        images=(ImageRef(uri="file:/no/such.png"),),
        question="?",
        answer="x",
        group="1",
        source="own",
        split="test",
    )
    tallies: list[Tally] = []
    cases = [lost, *open_cases(CASES)[:2]]
    stream = collect(cases, load_policy("scripted:prior"), RULES, on_failure=tallies.append)
    failed = {t.case_id: t.failure for t in stream}
    assert "no such image" in str(failed.pop("own/test/1"))
    assert set(failed.values()) == {None}
    assert dict(tallies[-1].failures) == {"image": 1}, "no retry fixes it"


def test_what_the_user_has_to_mend_ends_the_run() -> None:
    class Down(Flaky):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            raise UserError("no server at http://127.0.0.1:9; fix: start it")

    with pytest.raises(UserError, match="no server"):
        played(Down())


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path / "a", "")
    write, put, refused = TrajectoryStore.write, type(folder.images).put_png, Counter[str]()

    def full(kind: str) -> None:
        refused[kind] += 1
        if refused[kind] <= 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write_later(self: Any, *args: Any, **options: Any) -> Any:
        full("part")
        return write(self, *args, **options)

    def put_later(self: Any, *args: Any) -> Any:
        full("image")
        return put(self, *args)

    monkeypatch.setattr(TrajectoryStore, "write", write_later)
    monkeypatch.setattr(type(folder.images), "put_png", put_later)
    assert len(played(load_policy("scripted:oracle"), folder)) == 12
    assert folder.manifest["failures"] == {"store": 6}
    assert len(folder.trajectories) == 12
    for trajectory in folder.trajectories:
        for use in (use for node in trajectory.nodes for use in node.images):
            folder.images.get(use.sha256)


def test_a_disk_that_stays_full_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = RunFolder.create(tmp_path / "a", "")
    monkeypatch.setattr(TrajectoryStore, "write", full)
    monkeypatch.setattr(keeper, "PATIENCE", 0.0)
    with pytest.raises(RunError, match=r"No space left on device.*run the same command again"):
        played(load_policy("scripted:prior"), folder)


@pytest.mark.parametrize("name", ["concurrency", "group_size"])
def test_senseless_options_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="fix: raise them"):
        played(load_policy("scripted:prior"), **{name: 0})


def test_a_failure_travels_between_processes() -> None:
    import pickle

    failure = pickle.loads(pickle.dumps(Failure("tool", "gone", final=True)))
    assert (failure.boundary, failure.reason, failure.final) == ("tool", "gone", True)
    withheld = pickle.loads(pickle.dumps(Failure("policy", "says no", withheld="refused")))
    assert (withheld.boundary, withheld.withheld) == ("policy", "refused")
    assert withheld_of(str(withheld)) == "refused"
    assert withheld_of(str(failure)) is withheld_of("policy: refused: no") is None


def test_what_a_server_withholds_is_counted_by_why_and_asked_once(tmp_path: Path) -> None:
    class Refuses(Policy):
        async def act(self, conversation: Sequence[Message], sampling: Sampling) -> Reply:
            raise Failure("policy", "says no", final=True, withheld="refused")

    folder = RunFolder.create(tmp_path / "a", "")
    assert {t.failure for t in played(Refuses(), folder)} == {"refused: says no"}
    assert folder.manifest["failures"] == {"refused": 12}
    assert len(folder.trajectories) == 0


KILLED = """
import os, signal
from medgym.cli import main
from medgym.storage.trajectories import ImageStore

put, left = ImageStore.put_png, list(range(20))

def put_or_die(*args):
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left.pop()
    return put(*args)

ImageStore.put_png = put_or_die
main()
"""


def test_a_killed_command_given_again_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    def words(name: str) -> list[str]:
        cases = "phantom,question=kind:train[:18]"
        asked = ["rollout", cases, "--policy", "scripted:random", "--group-size", "2"]
        return [*asked, "--out", str(tmp_path / name)]

    assert main(words("whole")) == 0
    killed = subprocess.run([sys.executable, "-c", KILLED, *words("killed")], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert RunFolder.open(tmp_path / "killed").manifest["status"] == "running"
    assert main(words("killed")) == 0
    whole, again = (RunFolder.open(tmp_path / name) for name in ("whole", "killed"))
    assert len(again.trajectories) == 36
    assert again.manifest["content"] == whole.manifest["content"]
    names = [sorted(p.name for p in run.path.glob("images/*/*.png")) for run in (whole, again)]
    assert names[0] == names[1]


class Closing(Flaky):
    """Counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> type[Closing]:
    """What every spec names; `collect` loads it."""
    monkeypatch.setattr(Closing, "closed", 0)
    monkeypatch.setattr("medgym.rollout.request.load_policy", lambda spec: Closing())
    return Closing


def test_a_loaded_policy_is_closed_where_the_folder_is_refused(
    tmp_path: Path, loaded: type[Closing]
) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError):
        collect(CASES, "x", RULES, out=tmp_path)
    assert loaded.closed == 1


def test_a_loaded_policy_is_closed_with_an_iterator_that_was_never_read(
    loaded: type[Closing],
) -> None:
    stream: Any = collect(CASES, "x", RULES)
    assert loaded.closed == 0
    stream.close()
    assert loaded.closed == 1
