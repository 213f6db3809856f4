"""A cluster of our own is this user's alone, and nothing of it outlives its driver."""

import importlib.util
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)
if sys.platform != "linux":
    pytest.skip("sockets and processes are read from /proc", allow_module_level=True)

pytestmark = pytest.mark.timeout(900)

DRIVER = """
import json, sys
from medgym.errors import RunError
from medgym.rollout import collect
from medgym.rollout.ray.cluster import join, ray
cluster = join(None, cpus=3, object_store=80 * 2**20)
class Worker:
    def pid(self):
        import os
        return os.getpid()
worker = ray.remote(Worker).remote()
pid = ray.get(worker.pid.remote())
print(json.dumps({"worker": pid, "folder": str(cluster.private.path),
                  "address": ray.get_runtime_context().gcs_address}), flush=True)
sys.stdin.readline()
stream = collect("phantom:train[:500]", "scripted:random", backend="ray", workers=1)
next(stream)
for started in ray._private.worker._global_node.all_processes["raylet"]:
    started.process.kill()
try:
    print(len(list(stream)), flush=True)
except RunError as error:
    print(error, flush=True)
sys.stdin.read()
"""

STRANGER = """
import sys
from medgym.errors import UserError
from medgym.rollout.ray.cluster import join
from medgym.rollout.ray.private import loopback
try:
    with loopback():
        join(sys.argv[1], cpus=1)
except UserError as error:
    print(error)
"""


def family(pid: int) -> list[int]:
    """A process and all that descend from it, but for our watcher."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        below.setdefault(int(after[1]), []).append(int(entry.parent.name))
    found = [pid]
    for each in found:
        found += below.get(each, [])
    return found


def address(packed: str) -> str:
    """An address as /proc/net has it: words of 32 bits, in the machine's order."""
    words = struct.pack(
        f"={len(packed) // 8}I", *(int(packed[i : i + 8], 16) for i in range(0, len(packed), 8))
    )
    named = socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)
    return named.removeprefix("::ffff:")


def listening(pids: list[int]) -> dict[int, set[str]]:
    """The addresses at which processes take connections or packets, by process."""
    places: dict[str, str] = {}
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == state:
                places[f"socket:[{words[9]}]"] = address(words[1].partition(":")[0])
    found: dict[int, set[str]] = {}
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                name = os.readlink(entry)
            except OSError:
                continue
            if name in places:
                found.setdefault(pid, set()).add(places[name])
    return found


def remains(folder: str) -> list[str]:
    """What of a cluster is still there: its folder, and processes that were started with it."""
    found = [folder] if os.path.exists(folder) else []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:
            continue
        if folder.encode() in line:
            found.append(line.replace(b"\0", b" ").decode("utf-8", "replace"))
    return found


def test_it_is_private_and_goes_with_its_driver() -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    try:
        told: dict[str, Any] = json.loads(driver.stdout.readline())
        processes = family(driver.pid)
        words = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in processes]
        sockets = listening(processes)
        folder = Path(told["folder"])
        mode = stat.S_IMODE(folder.stat().st_mode)
        without = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
        stranger = subprocess.run(
            [sys.executable, "-c", STRANGER, told["address"]],
            capture_output=True, text=True, timeout=400, env=without | {"HOME": str(folder)},
        )  # fmt: skip
        driver.stdin.write("\n")
        driver.stdin.flush()
        broken = driver.stdout.readline()
    finally:
        driver.kill()
        driver.wait()
    assert told["worker"] in processes
    assert {driver.pid, told["worker"]} <= sockets.keys()
    assert len(sockets) >= 4, "the driver, a worker, the raylet and the GCS"
    assert set().union(*sockets.values()) <= {"127.0.0.1", "::1"}
    ours = {Path(os.fsdecode(word)).name for each in words for word in each}
    assert "raylet" in ours
    assert ours.isdisjoint({"monitor.py", "log_monitor.py"}), "nobody asks for what these do"
    assert mode == 0o700
    assert stranger.stdout.startswith("cannot join the Ray cluster"), stranger.stderr
    assert "InvalidAuthToken" in stranger.stderr
    assert broken.startswith("the Ray cluster of this run broke down (its raylet ended); fix: ")
    deadline = time.monotonic() + 240
    while remains(str(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert remains(str(folder)) == []


def test_what_a_dead_process_left_is_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medgym.rollout.ray import private

    monkeypatch.setattr(private, "PLACE", tmp_path)
    held, young = private.Private(), tmp_path / "medgym-ray-young"
    left, foreign = tmp_path / "medgym-ray-left", tmp_path / "medgym-ray-foreign"
    for each in (left, young, foreign):
        (each / "r").mkdir(parents=True)
    for each in (left, young):
        (each / "owner").touch()
    for each in (held.path, left, foreign):
        os.utime(each, (0, 0))
    other = private.Private()
    assert not left.exists()
    assert held.path.exists()
    assert young.exists()
    assert foreign.exists(), "nobody knows whose it is"
    other.leave()
    held.leave()
    assert not held.path.exists()
    assert "RAY_AUTH_TOKEN" not in os.environ
