"""How a call of a tool is carried out: within its limits, and once where its result is kept."""

from collections.abc import Sequence
from typing import Any

from medgym.case import Case
from medgym.deadline import within
from medgym.errors import ToolError
from medgym.gold_tool import Gold
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.tool_cache import CACHE, key_of
from medgym.workspace import Workspace


def used(tool: Tool, args: ToolArgs, workspace: Workspace, case: Case) -> ToolResult:
    """What a call yields.

    Args:
        case: that which is played. Only a tool that needs gold is told of it, and only what
            `Gold.of` tells.

    Raises:
        ToolError: the tool's own, or the call passed its limits.
        Failure: the process in which it ran died.
    """
    gold = (Gold.of(case),) if tool.needs_gold else ()
    if not tool.caches:
        return limited(tool, args, workspace, *gold)
    key = key_of(tool, args, workspace, case if gold else None)
    if key is None:
        return limited(tool, args, workspace, *gold)
    return CACHE.result(key, lambda: limited(tool, args, workspace, *gold))


def limited(tool: Tool, args: ToolArgs, workspace: Workspace, *gold: Gold) -> ToolResult:
    """What a call yields within the tool's limits; `gold` for a tool that needs it.

    Raises:
        ToolError, Failure: as of `used`.
    """
    if tool.memory_mb is not None:
        from medgym.tool_process import in_process

        (result,) = in_process(tool, "with_gold" if gold else "", [(args, workspace)], *gold)
        return _raised(result)
    return within(tool, tool.with_gold if gold else tool, args, workspace, *gold)


def used_together(tool: Tool, calls: Sequence[tuple[Any, Workspace]]) -> Any:
    """What several calls of a tool yield that takes them at once.

    Raises:
        ToolError: they passed the tool's limits.
        Failure: the process in which they ran died.
    """
    if tool.memory_mb is None:
        return within(tool, tool.run_many, calls)
    from medgym.tool_process import in_process

    try:
        return in_process(tool, "run_many", calls)
    except ToolError as error:
        if error.fault != "memory" or len(calls) == 1:
            raise
    results: list[ToolResult | ToolError] = []
    for call in calls:  # which of them needs so much shows only alone
        try:
            results += in_process(tool, "run_many", [call])
        except ToolError as error:
            results.append(error.with_traceback(None))
    return results


def _raised(result: ToolResult | ToolError) -> ToolResult:
    if isinstance(result, ToolError):
        raise result
    return result
