"""Daemon threads: as many as are needed, no more than are of use, and nothing waits for them."""

import asyncio
import os
import threading
import time
import weakref

import pytest

from medgym import daemon_threads
from medgym.daemon_threads import LONG, LOOK, DaemonThreads
from medgym.threads import in_thread


class Made:
    """Something that a thread makes."""


def test_idle_threads_are_used_again_and_there_are_no_more_than_allowed() -> None:
    threads, go = DaemonThreads("test", 2), threading.Event()
    names = [threads.submit(lambda: (go.wait(), threading.current_thread().name)) for _ in range(5)]
    go.set()
    assert len({name.result(timeout=60)[1] for name in names}) <= 2
    for _ in range(20):
        assert threads.submit(threading.current_thread).result(timeout=60).name in (
            "test_1",
            "test_2",
        )


def test_closed_threads_take_nothing_and_cancel_what_waits() -> None:
    threads, go, begun = DaemonThreads("test", 1), threading.Event(), threading.Event()
    first = threads.submit(lambda: (begun.set(), go.wait()))
    second = threads.submit(int)
    assert begun.wait(60)
    threads.shutdown(cancel_futures=True)
    with pytest.raises(RuntimeError, match="test is closed"):
        threads.submit(int)
    assert second.cancelled()
    go.set()
    assert first.result(timeout=60)


def test_an_idle_thread_holds_nothing_of_what_it_did() -> None:
    threads = DaemonThreads("idle")
    made = weakref.ref(threads.submit(Made).result())
    end = time.monotonic() + 60
    while made() is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert made() is None


def test_every_call_finds_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    start, release = threading.Thread.start, threading.Semaphore.release
    threads, begun, gate = DaemonThreads("gate"), threading.Semaphore(0), threading.Event()

    def start_slowly(thread: threading.Thread) -> None:
        time.sleep(0.05)
        start(thread)

    def release_slowly(semaphore: threading.Semaphore) -> None:
        time.sleep(0.01)
        release(semaphore)

    with monkeypatch.context() as slow:  # nothing happens at the moment at which it is expected
        slow.setattr(threading.Thread, "start", start_slowly)
        slow.setattr(threading.Semaphore, "release", release_slowly)
        threads.submit(int).result()
        threads.submit(int).result()
        time.sleep(0.2)

    def hang() -> None:
        begun.release()
        gate.wait()

    try:
        for _ in range(6):
            threads.submit(hang)
        for number in range(6):
            assert begun.acquire(timeout=60), f"only {number} of 6 calls were begun"
    finally:
        gate.set()


def test_whoever_submits_does_not_wait_for_a_thread_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, go = DaemonThreads("tried"), threading.Event()
    start = threading.Thread.start

    def slow(self: threading.Thread) -> None:
        if self.name.startswith("tried"):
            go.wait(60)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", slow)
    waiting = [threads.submit(pow, number, 2) for number in range(5)]
    assert not any(future.done() for future in waiting)
    go.set()
    assert [future.result(60) for future in waiting] == [0, 1, 4, 9, 16]


def test_a_call_that_gets_no_thread_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, start = DaemonThreads("tried"), threading.Thread.start

    def refused(self: threading.Thread) -> None:
        if self.name.startswith("tried"):
            raise RuntimeError("can't start new thread")
        start(self)

    async def awaited() -> int:
        return await asyncio.wait_for(in_thread(threads, pow, 2, 2), 60)

    held = threading.Event()

    def hold() -> None:
        held.wait(60)

    daemon_threads._STARTER.call(hold)
    assert threads.submit(int).cancel()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        held.set()
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threads.submit(pow, 2, 2).result(60)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            asyncio.run(awaited())
    assert threads.submit(pow, 2, 2).result(60) == asyncio.run(awaited()) == 4


def test_a_call_waits_for_another_thread_where_there_is_no_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, go, tried = DaemonThreads("full"), threading.Event(), threading.Event()
    first = threads.submit(go.wait, 60)
    while not first.running():
        time.sleep(0.001)

    def refused(self: threading.Thread) -> None:
        tried.set()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    second = threads.submit(pow, 2, 2)
    assert tried.wait(60)
    go.set()
    assert second.result(60) == 4


def used(threads: DaemonThreads, calls: int, seconds: float, *, busy: bool = False) -> int:
    """How many threads do calls of some length that come at once."""

    def call() -> int:
        end = time.thread_time() + seconds
        while busy and time.thread_time() < end:
            pass
        if not busy:
            time.sleep(seconds)
        return threading.get_ident()

    return len({future.result(60) for future in [threads.submit(call) for _ in range(calls)]})


def test_short_calls_are_done_by_one_of_sparing_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    # A machine may do nothing for a while, and it would look as if the calls were slow.
    monkeypatch.setattr(daemon_threads._STARTER, "watch", lambda look: None)
    assert used(DaemonThreads("spared", 4, sparing=True), 200, 0.0) == 1


def test_long_calls_are_done_by_as_many_sparing_threads_as_there_may_be() -> None:
    assert used(DaemonThreads("spared", 4, sparing=True), 40, 3 * LONG, busy=True) == 4


def test_slow_calls_get_more_sparing_threads() -> None:
    assert used(DaemonThreads("spared", 4, sparing=True), 24, 3 * LOOK) == 4


def test_many_that_wait_get_more_sparing_threads() -> None:
    assert used(DaemonThreads("spared", 4, sparing=True), 200, LOOK / 4) == 4


def test_a_forked_process_has_threads_of_its_own() -> None:
    threads = DaemonThreads("forked", 1)
    assert threads.submit(int, "7").result(60) == 7
    child = os.fork()
    if child == 0:
        os._exit(threads.submit(int, "7").result(60))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
