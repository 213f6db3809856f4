"""Micro-batches for tools with models: the calls of concurrent episodes are done together.

An episode calls a tool and waits for its own result, as ever; what a call yields is the same,
the calls beside it.
"""

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from medgym.contracts import fault_of
from medgym.episode import Rules
from medgym.errors import ToolError
from medgym.failures import ContractError, Failure, at, reason_of
from medgym.imaging.opened import UnreadableImage
from medgym.tool import Tool, ToolResult, schema_of
from medgym.tool_call import used_together
from medgym.workspace import Workspace

WAIT = 0.005
"""Seconds that a call waits for others to join it; little beside what a model takes."""


@dataclass(frozen=True)
class _Call:
    args: Any
    workspace: Workspace
    result: "Future[ToolResult | ToolError]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """Does the calls of one tool on a thread of its own, one batch after the other.

    A batch is done when it has the tool's `batch_size`, or its first call has waited for `wait`
    seconds; what comes while a batch is being done waits for the next one.
    """

    def __init__(self, tool: Tool, wait: float = WAIT) -> None:
        self._tool = tool
        self._wait = wait
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, args: Any, workspace: Workspace) -> "Future[ToolResult | ToolError]":
        """Ask for a call; a crash of the tool is the `Failure` of every call in its batch."""
        call = _Call(args, workspace)
        with self._lock:
            if self._closed:  # a caller that waited for it would wait for ever
                raise RuntimeError(f"{self._tool.name} is closed")
            if self._thread is None or not self._thread.is_alive():
                name = f"medgym-{self._tool.name}"
                self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._thread.start()
            self._calls.put(call)
        return call.result

    def close(self) -> None:
        """End the thread after the batch that it is doing; calls that wait are cancelled."""
        with self._lock:
            self._closed = True
            self._calls.put(None)

    def _serve(self) -> None:
        batch: list[_Call] = []
        try:
            while (first := self._calls.get()) is not None:
                batch = [first]
                self._gather(batch)
                if self._closed:
                    for call in batch:
                        call.result.cancel()
                else:
                    _resolve(batch, self._done(batch))
                # A thread that waits holds nothing of what it did, nor does an error hold itself.
                batch.clear()
                del first
        except BaseException as error:  # a thread that ends in silence would be waited for
            self._fail(batch, error)

    def _fail(self, batch: Sequence[_Call], error: BaseException) -> None:
        """End every call that waits; the next one starts another thread."""
        reason = f"{self._tool.name}: its thread for batches ended ({reason_of(error)})"
        with self._lock:
            waiting = list(batch)
            with suppress(queue.Empty):
                while True:
                    call = self._calls.get_nowait()
                    if call is not None:
                        waiting.append(call)
            for call in waiting:
                with suppress(InvalidStateError):
                    call.result.set_exception(Failure("tool", reason))
            self._thread = None

    def _gather(self, batch: list[_Call]) -> None:
        """Add the calls that come in time to the first one."""
        while len(batch) < self._tool.batch_size:
            left = batch[0].since + self._wait - time.monotonic()
            try:
                call = self._calls.get(timeout=left) if left > 0 else self._calls.get_nowait()
            except queue.Empty:
                break
            if call is None:
                self._calls.put(None)  # for the loop that ends with it
                break
            batch.append(call)

    def _done(self, batch: Sequence[_Call]) -> "Sequence[ToolResult | Exception]":
        """What each call yields, or the error that it meets."""
        try:
            with at("tool", self._tool.name):
                calls = [(call.args, call.workspace) for call in batch]
                try:
                    returned = used_together(self._tool, calls)
                    return _as_many(returned, len(batch))
                except ToolError as error:
                    return [ToolError(str(error), fault_of(error)) for _ in batch]
        except UnreadableImage as error:
            if len(batch) == 1:
                return [error]
            # Whose image it is shows only alone; to the others' cases it must do nothing.
            return [result for call in batch for result in self._done([call])]
        except Exception as error:
            return [error] * len(batch)


def _resolve(batch: Sequence[_Call], results: "Sequence[ToolResult | Exception]") -> None:
    for call, result in zip(batch, results, strict=True):
        with suppress(InvalidStateError):  # the caller may have been cancelled
            if isinstance(result, Exception) and not isinstance(result, ToolError):
                call.result.set_exception(result)
            else:
                call.result.set_result(result)


def _as_many(results: object, calls: int) -> list[ToolResult | ToolError]:
    """What `run_many` returned, one for each call; the episode checks each."""
    if not isinstance(results, Sequence) or isinstance(results, str):
        raise ContractError(f"returned a {type(results).__name__} from run_many; expected a list")
    if len(results) != calls:
        raise ContractError(f"returned {len(results)} results from run_many for {calls} calls")
    for result in results:
        if isinstance(result, ToolError):
            result.with_traceback(None)  # which holds the images of all calls of the batch
    return list(results)


class StandIn(Tool):
    """What an episode calls in place of a tool that runs elsewhere: a policy sees no difference.

    The tool's deadline counts where the tool runs, so that a call may wait for its batch.
    """

    deadline_s = None

    def __init__(self, tool: Tool) -> None:
        kept = ("name", "version", "spec", "fidelity", "caches", "Args")
        vars(self).update({name: getattr(tool, name) for name in kept})
        self._schema = schema_of(tool)

    @property
    def description(self) -> str:
        """The tool's own."""
        return str(self._schema["description"])

    def schema(self) -> dict[str, Any]:
        """The tool's own."""
        return self._schema


class Batched(StandIn):
    """A tool whose calls are joined into batches in this process."""

    def __init__(self, tool: Tool) -> None:
        super().__init__(tool)
        self._batcher = Batcher(tool)

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        """Do it together with what others ask for; blocks until it is done."""
        result = self._batcher.submit(args, workspace).result()
        try:
            if isinstance(result, ToolError):
                raise result
            return result
        finally:
            del result  # an error that held itself would hold the episode's images

    def close(self) -> None:
        """End the thread."""
        self._batcher.close()


def batched(rules: Rules) -> Rules:
    """The same rules, where the calls of tools with a `batch_size` are joined."""
    if all(tool.batch_size == 1 for tool in rules.tools):
        return rules
    tools = (Batched(tool) if tool.batch_size > 1 else tool for tool in rules.tools)
    return replace(rules, tools=tuple(tools))


def close_batches(rules: Rules) -> None:
    """End the threads of what `batched` made."""
    for tool in rules.tools:
        if isinstance(tool, Batched):
            tool.close()
