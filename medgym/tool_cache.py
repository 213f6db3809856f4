"""Results of calls that were made before: for tools that take long, and say `caches`.

A call is known by its tool, version, spec and arguments, by the images, and by the views that it
addresses. So the members of a group, who look at the same image, share what one of them asked for.
A call that is being done is waited for and not done again.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from copy import deepcopy
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from medgym.case import Case, case_hash
from medgym.contracts import checked_result
from medgym.errors import ToolError
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import View, Workspace

MOST_BYTES = 2**28
"""What the results that a process keeps may hold: pixels and texts, 256 MiB."""

OVERHEAD = 1000
"""Bytes that are reckoned for a result beside its pixels and texts."""

_TOKENS: "WeakKeyDictionary[Any, int]" = WeakKeyDictionary()
_NEXT = count()
_NAMING = threading.Lock()


class ToolCache:
    """Results by key, the least recently used ones forgotten first.

    Args:
        most: bytes that it may hold.

    Attributes:
        hits, misses: calls that were found or waited for, and calls that were done.
        bytes: what it holds.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most = most
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[ToolResult, int]] = OrderedDict()
        self._running: dict[Hashable, Future[ToolResult]] = {}
        self.hits = self.misses = self.bytes = 0

    def result(self, key: Hashable, do: Callable[[], ToolResult]) -> ToolResult:
        """What a call yields; it is done where nothing is known of it.

        What it raises is not kept: those who waited for it do it themselves, all at once. One after
        the other, the deadlines of late calls would add up.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self.hits += 1
                return _copied(self._kept[key][0])
            running = self._running.get(key)
            if running is None:
                mine: Future[ToolResult] = Future()
                self._running[key] = mine
                self.misses += 1
        if running is None:
            return self._do(key, do, mine)
        is_done = running.exception() is None
        with self._lock:
            self.hits += is_done
            self.misses += not is_done
        return _copied(running.result()) if is_done else do()

    def _do(
        self, key: Hashable, do: Callable[[], ToolResult], mine: "Future[ToolResult]"
    ) -> ToolResult:
        try:
            kept = _detached(checked_result(do()))
            size = _bytes_of(kept)
        except BaseException:
            with self._lock:
                del self._running[key]
            mine.set_exception(_NotDoneError())  # not the error itself, which holds the images
            raise
        with self._lock:
            del self._running[key]
            if size <= self.most:
                self._kept[key] = kept, size
                self.bytes += size
            while self.bytes > self.most:
                self.bytes -= self._kept.popitem(last=False)[1][1]
        mine.set_result(kept)
        return _copied(kept)


class _NotDoneError(Exception):
    """A call failed that another one waits for."""


CACHE = ToolCache()
"""The results of this process."""


def _begin_again() -> None:
    """In a forked process, where another thread may have held a lock."""
    global _NAMING
    _NAMING = threading.Lock()
    CACHE.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


def key_of(
    tool: Tool, args: ToolArgs, workspace: Workspace, case: Case | None
) -> tuple[Hashable, ...] | None:
    """What a call is known by; None where it addresses a view that does not exist.

    Args:
        case: where the tool needs gold.
    """
    try:
        views = [workspace.view(number) for number in _addressed(args)]
    except ToolError:
        return None
    kind = type(tool)
    return (
        (tool.name, tool.version, tool.spec or _token(tool), kind.__module__, kind.__qualname__),
        args.model_dump_json(),
        tuple(_token(image.start) for image in workspace.images),
        tuple((view.number, *_shown(view)) for view in views),
        (workspace.view_size, workspace.view_multiple, workspace.coordinates),
        workspace.names_hash,
        None if case is None else case_hash(case),
    )


def _addressed(args: ToolArgs) -> Iterator[int]:
    """The views that a call addresses: whole numbers in arguments that speak of views."""
    for name, field in type(args).model_fields.items():
        if "view" not in f"{name} {field.description}":
            continue
        value = getattr(args, name)
        for each in value if isinstance(value, list | tuple) else (value,):
            if type(each) is int:
                yield each


def _shown(view: View) -> tuple[Hashable, ...]:
    return view.image, view.box_px, view.size, view.place, view.made_by, view.shown.sha256


def _token(thing: Any) -> int:
    """A number of a study or a tool, which nothing else ever has."""
    with _NAMING:
        if thing not in _TOKENS:
            _TOKENS[thing] = next(_NEXT)
        return _TOKENS[thing]


def _detached(result: ToolResult) -> ToolResult:
    """A result that holds pixels and no study: its pictures are drawn."""
    views = tuple(
        View(-1, view.image, view.box_px, view.shown.image, view.made_by, view.place)
        for view in result.views
    )
    return ToolResult(result.text, views, deepcopy(dict(result.data)))


def _copied(result: ToolResult) -> ToolResult:
    """A result whose data its receiver may change."""
    return ToolResult(result.text, result.views, deepcopy(dict(result.data)))


def _bytes_of(result: ToolResult) -> int:
    pixels = sum(3 * view.size[0] * view.size[1] for view in result.views)
    return OVERHEAD + pixels + len(result.text) + len(repr(result.data))
