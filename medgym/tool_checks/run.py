"""All checks of a tool: it is tried with drawn calls on many images, forwards and backwards."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medgym.case_checks.report import CheckRow, Verdict
from medgym.errors import ToolError
from medgym.failures import Failure
from medgym.tool import Tool
from medgym.tool_call import used_together
from medgym.workspace import Workspace

from .breach import CHECKS, Breach, Check, expect
from .declaration import check_declaration, check_schema
from .drawn_calls import draw_call, shown
from .outcomes import checked, outcome, refusal
from .tried_images import CASES, Room, rooms

CALLS = 40
"""Calls that are drawn for each image."""

OnBreach = Callable[[Breach], None]


def try_tool(
    tool: Tool,
    on_breach: OnBreach,
    *,
    cases: str = CASES,
    calls: int = CALLS,
    seed: int = 0,
    on_image: Callable[[], None] | None = None,
) -> Counter[Check]:
    """Try a tool; how often each check was made.

    Args:
        on_breach: receives each breach, and may raise it.
        on_image: is called after each image.

    Raises:
        Failure: what the tool needs failed under it, so that it cannot be tried on.
    """
    made: Counter[Check] = Counter()
    sound = True
    declared: tuple[tuple[Check, Callable[[Tool], None]], ...] = (
        ("declaration", check_declaration),
        ("schema", check_schema),
    )
    for check, look in declared:
        made[check] += 1
        try:
            if sound:
                look(tool)
        except Breach as breach:
            sound = False
            on_breach(breach)
    if not sound:
        return made
    chance = random.Random(seed)
    for room in rooms(cases):
        parameters = tool.schema()["parameters"]
        drawn = [draw_call(parameters, chance, room()) for _ in range(room.calls(calls))]
        forward = [_tried(tool, call, room, on_breach) for call in drawn]
        backward = [_tried(tool, call, room, on_breach) for call in reversed(drawn)]
        of_calls: tuple[Check, ...] = ("arguments", "results", "workspace", "time")
        made.update(dict.fromkeys(of_calls, 2 * len(drawn)))
        made["memory"] += 2 * len(drawn) * (tool.memory_mb is not None)
        for call, one, other in zip(drawn, forward, reversed(backward), strict=True):
            made["repeats"] += 1
            if one is not None and other is not None and one != other:
                on_breach(
                    Breach(
                        "repeats",
                        f"{tool.name}: the same call gives another result after other calls: "
                        f"{shown(call)} on {room.name}",
                    )
                )
        if type(tool).run_many is not Tool.run_many and not tool.needs_gold:
            made["batches"] += 1
            try:
                _check_batch(tool, drawn, forward, room)
            except Breach as breach:
                on_breach(breach)
        if on_image is not None:
            on_image()
    return made


def _tried(tool: Tool, call: Mapping[str, Any], room: Room, on_breach: OnBreach) -> str | None:
    try:
        return outcome(tool, call, room)
    except Breach as breach:
        on_breach(breach)
        return None


def _check_batch(
    tool: Tool, drawn: Sequence[Mapping[str, Any]], alone: Sequence[str | None], room: Room
) -> None:
    """Do as many of the calls together as the tool takes at once."""
    calls: list[tuple[Any, Workspace]] = []
    expected, told = [], []
    for call, one in zip(drawn, alone, strict=True):
        try:
            args = tool.parse(call)
        except ToolError:
            continue
        if one is not None and len(calls) < max(2, tool.batch_size):
            calls.append((args, room()))
            expected.append((one, call))
    if not calls:
        return
    where = f"by {len(calls)} calls together on {room.name}"
    try:
        results = used_together(tool, calls)
        for result, (_, workspace) in zip(results, calls, strict=True):
            if isinstance(result, ToolError):
                told.append(refusal(result))
            else:
                told.append(checked(tool, result, workspace, where))
    except (Breach, Failure):
        raise
    except (Exception, SystemExit) as error:
        raise Breach(
            "batches", f"{tool.name}: raised {type(error).__name__} ({error}) {where}"
        ) from error
    for now, (one, call) in zip(told, expected, strict=True):
        expect(
            now == one,
            "batches",
            f"{tool.name}: the call gives another result together with others: {shown(call)} on "
            f"{room.name}",
        )


def checked_tool(
    tool: Tool,
    *,
    cases: str = CASES,
    calls: int = CALLS,
    seed: int = 0,
    on_image: Callable[[], None] | None = None,
) -> list[CheckRow]:
    """A row for each check of a tool: whether it passed, and the first breach where it did not."""
    first: dict[Check, Breach] = {}
    counts: Counter[Check] = Counter()

    def on_breach(breach: Breach) -> None:
        first.setdefault(breach.check, breach)
        counts[breach.check] += 1

    made = try_tool(tool, on_breach, cases=cases, calls=calls, seed=seed, on_image=on_image)
    return [CheckRow(check, *_verdict(check, first, counts, made)) for check in CHECKS]


def _verdict(
    check: Check, first: Mapping[Check, Breach], counts: Counter[Check], made: Counter[Check]
) -> tuple[Verdict, str, str]:
    """How a check went, the figure behind it, and what it asks for where it failed."""
    asks = CHECKS[check]
    if check in first:
        more = f" (and {counts[check] - 1} more)" if counts[check] > 1 else ""
        return "fail", f"{first[check]}{more}", asks
    if made[check]:
        one_time = check in ("declaration", "schema")
        unit = "batches" if check == "batches" else "calls"
        return "pass", asks if one_time else f"{asks}; {made[check]:,} {unit}", ""
    if made["time"]:
        lacks = "it has no budget" if check == "memory" else "it does one call at a time"
        return "pass", lacks, ""
    return "warn", "not tried, for a check above failed", ""
