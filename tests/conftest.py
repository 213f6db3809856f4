"""What every test relies on: one thread a process, no network, repeatable examples.

The tests run in several processes at once, so each keeps to one thread; the variables are set
before anything imports numpy or torch.
"""

import fcntl
import gc
import os

for name, value in {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
}.items():
    os.environ[name] = value

import time  # noqa: E402
import urllib.request  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# Until all tests are known there is no garbage worth a search: millions of objects come and stay.
gc.disable()

# A slow or busy machine is no failure: no deadlines, and the same examples in every run.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("repeatable")


@pytest.hookimpl(optionalhook=True)  # the engine's tests run in vLLM's environment, without xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are processors: the tests wait a third of the time, for commands,
    clusters and browsers that they start."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """What is there by now stays to the end: no search for garbage visits it."""
    gc.freeze()
    gc.enable()


TWO_PROCESSES = tuple(
    f"/{name}.py"
    for name in (
        "train/run/test_stages",
        "train/run/test_sharing",
        "train/grpo/test_processes",
        "train/dpo/test_processes",
        "trust/test_two_processes",
    )
)
"""Files whose tests begin processes from one that has torch and TRL imported: to begin that one
takes as long as most of what they then do."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One process runs a file's tests, and those of all the files that share such a beginning."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "two processes" if f"/{file}".endswith(TWO_PROCESSES) else file

    return Together(config, log)


SLOWEST = (
    "rollout/ray/test_backend",
    "test_docs",
    *(name.removeprefix("/").removesuffix(".py") for name in TWO_PROCESSES),
    "train/grpo/test_ray",
    "train/consultation/test_training",
    "rollout/ray/test_chaos",
    "train/consultation/test_vllm",
    "agents/hf/test_decoder",
    "train/grpo/test_keys",
    "train/grpo/test_families",
    "agents/consultation/test_vllm",
    "rollout/ray/test_private",
    "train/doctor/test_command",
    "rubric_audit/test_audit",
    "agents/openai/test_vllm",
    "sources/phantom/test_check",
)
"""Files that take most of a minute or several, the longest first. Those that ask a real server
stand apart, for they would wait for each other, and not at the beginning, when it starts."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files come first, then those with slow tests: at the end, no process waits long
    for another one's."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(path: Path) -> tuple[int, bool]:
        name = path.with_suffix("").as_posix()
        first = (at for at, each in enumerate(SLOWEST) if name.endswith(f"/{each}"))
        return next(first, len(SLOWEST)), path not in slow

    places = {path: place(path) for path in {item.path for item in items}}
    items.sort(key=lambda item: places[item.path])


@pytest.fixture(scope="session")
def tiny_processor() -> Any:
    """A real Qwen3-VL processor with a byte-level tokenizer, for views of up to 64 x 64 pixels."""
    from medgym.instructions import instructions
    from medgym.tool import load_tools
    from medgym.train.tiny.tokenizer import build_processor, call_pieces

    told = instructions(load_tools(["zoom"])).splitlines(keepends=True)
    said = ("Error: cannot read the reply; ", " pixels of image 0.", "Question: ", "\nOptions:\n")
    return build_processor((*told, *said, *call_pieces(range(0, 1001, 125))), view_size=64)


@pytest.fixture(scope="session")
def tiny_folder(tiny_processor: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real Qwen3-VL of random weights, saved as any checkpoint is: `hf:FOLDER` loads it."""
    from medgym.train.tiny.model import TinyConfig, build_model

    folder = tmp_path_factory.mktemp("tiny")
    config = TinyConfig(hidden=32, text_layers=2, vision_layers=1, heads=2)
    build_model(config, tiny_processor.tokenizer, seed=0).save_pretrained(folder)
    tiny_processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the tests of another process away from a real server: they load and drop adapters of
    the same names, and on a CPU vLLM mixes those of requests that share a batch. Such a server may
    still be starting when the tests do."""
    with (tmp_path_factory.getbasetemp().parent / "server.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        assert not lock.read(), "the server did not come up"
        if not _answers(os.environ["MEDGYM_VLLM_URL"] + "/models"):
            lock.write("down")  # no other test waits for it once more
            pytest.fail("the server does not come up")
        yield


def _answers(url: str, seconds: float = 400) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(OSError), opener.open(url, timeout=5):
            return True
        time.sleep(1)
    return False


@pytest.fixture
def no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, nothing is slow enough for a line of progress: what stands on
    stderr is what the command has to say."""
    monkeypatch.setattr("medgym.progress.INTERVAL", float("inf"))
    monkeypatch.setattr("medgym.progress.WORTH", float("inf"))
