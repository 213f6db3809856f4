"""One call of a tool, held to the contract: what it does as text that two runs are compared by."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from medgym.errors import RunError, ToolError
from medgym.failures import Failure
from medgym.tool import Tool, ToolResult
from medgym.tool_call import limited
from medgym.workspace import Workspace

from .breach import Breach, expect
from .drawn_calls import shown
from .tried_images import Room


def outcome(tool: Tool, call: Mapping[str, Any], room: Room) -> str:
    """What a call does in a new workspace.

    Raises:
        Breach: it breaks the contract.
        Failure: what the tool needs failed under it.
    """
    workspace = room()
    where = f"by {shown(call)} on {room.name}"
    held = [view.picture for view in workspace.views]  # what is drawn on is what is compared
    before = _fingerprint(workspace)
    try:
        args = tool.parse(call)
        gold = (room.gold,) if tool.needs_gold else ()
        result = limited(tool, args, workspace, *gold)
    except ToolError as error:
        expect(error.fault != "late", "time", f"{error} {where}")
        expect(error.fault != "memory", "memory", f"{error} {where}")
        expect(bool(str(error)), "arguments", f"{tool.name}: a ToolError without a text {where}")
        told = refusal(error)
    except RunError as error:  # too many late calls are still running
        raise Breach("time", f"{error} {where}") from error
    except Failure as failure:  # of what the tool needs, such as a server; that is no breach
        failure.add_note(f"the call was {shown(call)} on {room.name}")
        raise
    except (Exception, SystemExit) as error:  # an episode names the tool of both
        raise Breach(
            "arguments",
            f"{tool.name}: raised {type(error).__name__} ({error}) {where}; expected a ToolError",
        ) from error
    else:
        told = checked(tool, result, workspace, where)
    expect(
        _fingerprint(workspace) == before,
        "workspace",
        f"{tool.name}: changed the workspace {where}",
    )
    del held
    try:
        told.encode()
    except UnicodeEncodeError as error:
        raise Breach("results", f"{tool.name}: text that is not Unicode {where}") from error
    return told


def refusal(error: ToolError) -> str:
    """A refused call, as outcomes are compared."""
    return f"error: {error}"


def checked(tool: Tool, result: ToolResult, workspace: Workspace, where: str) -> str:
    """What a call yields, as outcomes are compared.

    Raises:
        Breach: it is of another form than the contract has.
    """
    expect(
        isinstance(result, ToolResult) and isinstance(result.text, str),
        "results",
        f"{tool.name}: returned {type(result).__name__} {where}; expected a ToolResult with text",
    )
    try:
        data = json.dumps(dict(result.data), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise Breach("results", f"{tool.name}: data is not JSON ({error}) {where}") from error
    parts = [result.text, data]
    for view in result.views:
        expect(
            view.number == -1,
            "results",
            f"{tool.name}: numbered a view itself {where}; the episode does that",
        )
        expect(
            0 <= view.image < len(workspace.studies),
            "results",
            f"{tool.name}: a view of an image {view.image} that does not exist {where}",
        )
        x0, y0, x1, y1 = view.box_px
        width, height = workspace.images[view.image].size(view.place)
        expect(
            0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height,
            "results",
            f"{tool.name}: a view outside its image ({view.box_px} of {width} x {height}) {where}",
        )
        expect(
            view.picture.mode == "RGB" and 0 < max(view.size) <= workspace.view_size,
            "results",
            f"{tool.name}: a view of {view.size} {view.picture.mode} {where}; expected RGB within "
            f"{workspace.view_size} x {workspace.view_size}",
        )
        pixels = hashlib.sha256(view.picture.tobytes()).hexdigest()
        parts.append(f"{view.image} {view.box_px} {view.size} {view.made_by} {view.place} {pixels}")
    return "\n".join(parts)


MOST = 2**22
"""Bytes of an image's pixels that are looked at for a change; of a larger one every so many rows
are. No tool can write into them but by going around Python."""


def _pixel_hash(pixels: NDArray[Any]) -> bytes:
    return hashlib.sha256(pixels[:: -(-pixels.nbytes // MOST)].tobytes()).digest()


def _fingerprint(workspace: Workspace) -> tuple[Any, ...]:
    views = tuple(
        (v.number, v.image, v.box_px, v.made_by, v.place, v.size, v.picture.tobytes())
        for v in workspace.views
    )
    pixels = tuple(_pixel_hash(study.pixels) for study in workspace.studies)
    return views, pixels, workspace.view_size, workspace.coordinates
