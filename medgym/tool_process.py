"""Calls of a tool that declares a memory budget, in a process of their own.

Python cannot take memory back from a thread, and memory that runs out ends the whole process. So
such a tool runs in another process, whose writable memory may grow by the budget during a call, and
which can be ended. The process is kept for the next call. Tools without a budget pay nothing.

The limit is that of Linux (RLIMIT_DATA). On other systems the process is there, and no limit.
"""

import copy
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any
from weakref import WeakKeyDictionary, finalize

from medgym.deadline import late
from medgym.errors import RunError, ToolError, UserError
from medgym.failures import Failure, raised
from medgym.gold_tool import Gold
from medgym.imaging.opened import Sent
from medgym.tool import Tool, ToolResult, load_tools
from medgym.workspace import Workspace

MOST = 4
"""Processes of one tool; further calls wait for one."""

ATTEMPTS = 2
"""Times that a call is made whose process dies under it: a tool changes nothing."""

END = 5.0
"""Seconds that a process which has closed its connection gets to end."""

WATCH = 1.0
"""Seconds between two looks of a process at whether its parent is still there."""

START = 120.0
"""Seconds in which a process starts, which imports what the tool needs."""

_MAIN = "from medgym.tool_process import main; main()"

Calls = Sequence[tuple[Any, Workspace]]
Results = list[ToolResult | ToolError]


class _Died(Exception):
    """A process ended during a call; the text says how."""


class _Process:
    """One process of a tool, and the connection to it."""

    def __init__(self, tool: Tool) -> None:
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        try:
            self._connection.send(sys.path)
            self._connection.send_bytes(_packed(tool))
            said, value = self.call(pickle.dumps(("ready", [], (), None)), START)
            if said == "error":
                raise value
        except TimeoutError:
            raise _Died(f"did not start in {START:g} s") from None
        except BaseException:
            self.end()
            raise

    def call(self, asked: bytes, deadline: float | None) -> Any:
        """What a call yields, as the process says it.

        Raises:
            TimeoutError: it does not, in time; the process is ended.
            _Died: it ended.
        """
        try:
            self._connection.send_bytes(asked)
            if not self._connection.poll(deadline):
                self.end()
                raise TimeoutError
            return self._connection.recv()
        except (EOFError, ConnectionError) as error:
            try:
                code = self._process.wait(END)
            except subprocess.TimeoutExpired:  # it has closed the connection and goes on
                self._process.kill()
                code = self._process.wait()
            self._connection.close()
            how = f"signal {-code}" if code < 0 else f"exit status {code}"
            raise _Died(f"ended with {how}") from error

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


class _Pool:
    """The processes of one tool."""

    def __init__(self) -> None:
        self._idle: list[_Process] = []
        self._places = threading.Semaphore(MOST)
        self._owner = os.getpid()

    def call(self, tool: Tool, asked: bytes) -> Any:
        """Have a call done by a process that is idle, or by a new one; errors as of `_Process`."""
        with self._places:
            try:
                process = self._idle.pop()
            except IndexError:
                process = _Process(tool)
            try:
                answer = process.call(asked, tool.deadline_s)
            except BaseException as error:
                if not isinstance(error, TimeoutError | _Died):
                    process.end()  # what it would still say belongs to this call
                raise
            self._idle.append(process)
            return answer

    def close(self) -> None:
        """End the processes that are idle; those of its parent a forked process leaves alone."""
        while self._idle and os.getpid() == self._owner:
            self._idle.pop().end()


_POOLS: "WeakKeyDictionary[Tool, _Pool]" = WeakKeyDictionary()
_MAKING = threading.Lock()


def _begin_again() -> None:
    """A forked process has none of its parent's processes, and does not talk to them."""
    global _POOLS, _MAKING
    _POOLS, _MAKING = WeakKeyDictionary(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


def in_process(tool: Tool, method: str, calls: Calls, *gold: Gold) -> Results:
    """What some calls of a tool yield, done in a process of its own within its limits.

    Args:
        method: of the tool: `with_gold` or `run_many`; empty for a call as usual.

    Raises:
        ToolError: they are late, or needed more memory than the tool's budget; its fault is `late`
            or `memory`.
        Failure: the tool crashed, or its process died, and died again.
        UserError, RunError: the tool's own, or it cannot be sent to a process.
    """
    with _MAKING:
        pool = _POOLS.get(tool)
        if pool is None:
            pool = _POOLS[tool] = _Pool()
            finalize(tool, pool.close)  # or when this process ends
    asked = pickle.dumps((method, [_light(*call) for call in calls], gold, tool.memory_mb))
    why = ""
    for _ in range(ATTEMPTS):
        try:
            said, value = pool.call(tool, asked)
        except TimeoutError:
            assert tool.deadline_s is not None
            raise late(tool.name, tool.deadline_s) from None
        except _Died as error:
            why = str(error)
            continue
        if said == "memory":
            raise ToolError(
                f"{tool.name} needed more than {tool.memory_mb:g} MB of memory and was stopped; "
                "expected another call or an answer",
                "memory",
            )
        if said == "error":
            raise value
        results: Results = value
        return results
    raise Failure("tool", f"{tool.name}: the process of its call {why}")


def _light(args: Any, workspace: Workspace) -> tuple[str, Workspace]:
    """A call as it travels: images arrive as the opened images themselves."""
    light = copy.copy(workspace)
    sent: Any = tuple(map(Sent, workspace.images))
    light.images = sent
    return args.model_dump_json(), light


def _packed(tool: Tool) -> bytes:
    """A tool as it travels: itself, else its spec."""
    try:
        return pickle.dumps(tool)
    except Exception as error:
        if tool.spec:
            return pickle.dumps((tool.spec, tool.name))
        raise UserError(
            f"the tool {tool.name} has a memory budget and cannot be sent to a process of its own "
            f"({type(error).__name__}); fix: write it as a class in a module"
        ) from error


def serve(connection: Connection) -> None:
    """Do the calls that are asked for, until nobody asks any more."""
    sys.path[:] = connection.recv()
    tool, answer = None, None
    try:
        made = pickle.loads(connection.recv_bytes())
        if isinstance(made, tuple):
            tool = next(each for each in load_tools([made[0]]) if each.name == made[1])
        else:
            tool = made
    except Exception as error:
        answer = UserError(
            "a tool with a memory budget cannot be made in a process of its own "
            f"({raised(error)}); fix: write it as a class in a module, not in the script that runs"
        )
    with suppress(EOFError, ConnectionError):
        while True:
            asked = connection.recv_bytes()
            if tool is None:
                connection.send(("error", answer))
                continue
            connection.send_bytes(_answer(tool, asked))


def _answer(tool: Tool, asked: bytes) -> bytes:
    method, calls, gold, budget = pickle.loads(asked)
    if method == "ready":
        return pickle.dumps(("done", None))
    read = [(tool.Args.model_validate_json(args), workspace) for args, workspace in calls]
    try:
        _limit(budget)
        return pickle.dumps(("done", _results(tool, method, read, gold)))
    except MemoryError:
        return pickle.dumps(("memory", None))
    except (UserError, RunError, Failure) as error:
        kept: Exception = error
    except Exception as error:
        if "allocate" in str(error) and "memory" in str(error):  # as torch says it
            return pickle.dumps(("memory", None))
        kept = Failure("tool", f"{tool.name} raised {raised(error)}")
    finally:
        _limit(None)
    try:
        return pickle.dumps(("error", kept.with_traceback(None)))
    except Exception:
        return pickle.dumps(("error", Failure("tool", f"{tool.name} raised {raised(kept)}")))


def _results(tool: Tool, method: str, calls: Calls, gold: Sequence[Gold]) -> Any:
    if method == "run_many":
        return tool.run_many(calls)
    (call,) = calls
    try:
        return [tool.with_gold(*call, *gold) if method else tool(*call)]
    except ToolError as error:
        return [error.with_traceback(None)]


def _limit(budget: float | None) -> None:
    """Let the writable memory of this process grow by so many megabytes; None lifts the limit."""
    try:
        import resource

        with open("/proc/self/status", encoding="ascii") as status:
            used = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    except (ImportError, OSError):
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = hard if budget is None else used * 1024 + int(budget * 2**20)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _end_with(parent: int) -> None:
    """End this process when the one that started it has ended, even in a call that hangs."""
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)


def main() -> None:
    """Serve the process that started this one."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted ends this process
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    os.dup2(2, 1)  # what a tool prints
    serve(Connection(int(sys.argv[1])))
