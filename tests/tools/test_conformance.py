"""`check_tool`: the tools that ship keep the contract, and each breach of it is noticed."""

import time
from typing import Any

import pytest
from PIL import ImageDraw

import medgym
from medgym import load
from medgym.errors import ToolError
from medgym.imaging.study import Box
from medgym.testing import check_tool
from medgym.tool import Tool, ToolArgs, ToolResult, ViewNumber
from medgym.workspace import View, Workspace
from tests.tool_names import BARE


@pytest.mark.parametrize("name", BARE)
def test_what_ships_keeps_the_contract(name: str) -> None:
    slow = name in ("compare", "segment")
    check_tool(load("tools", name)(), calls=8 if slow else 16)


def test_a_function_can_be_a_tool() -> None:
    @medgym.as_tool
    def count(workspace: Workspace, view: ViewNumber = 0) -> str:
        """Count the pixels of a view."""
        return str(workspace.view(view).size)

    check_tool(count, calls=5)


class Good(Tool):
    """Say the size of a view."""

    name = "good"

    class Args(ToolArgs):
        """Which view."""

        view: ViewNumber

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        return ToolResult(str(workspace.view(args.view).size))


class Undocumented(Good):
    __doc__ = None


class BadlyNamed(Good):
    """Say the size of a view."""

    name = "say size"


class Unfaithful(Good):
    """Say the size of a view."""

    fidelity: Any = "guessed"


class Raises(Good):
    """Say the size of a view."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        return ToolResult(str(workspace.views[args.view].size))  # IndexError


class Leaves(Good):
    """End the process."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        raise SystemExit(3)


class Counts(Good):
    """Say how often it was called."""

    calls = 0

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        self.calls += 1
        return ToolResult(f"call {self.calls}")


class Draws(Good):
    """Draw on what was shown."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        view = workspace.view(args.view)
        ImageDraw.Draw(view.shown.image).point((0, 0), (1, 254, 1))
        return ToolResult("drawn")


class Adds(Good):
    """Number a view itself."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        return ToolResult("added", (workspace.add(workspace.view(args.view)),))


class Outside(Good):
    """Show what lies beside the image."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        view = workspace.view(args.view)
        box_px: Box = (-5.0, 0.0, 5.0, 5.0)
        return ToolResult("", (View(-1, view.image, box_px, view.picture),))


class TooLarge(Good):
    """Show more pixels than a view may hold."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        view = workspace.view(args.view)
        return ToolResult("", (View(-1, view.image, view.box_px, view.picture.resize((999, 9))),))


class Unrecordable(Good):
    """Hand out data that no record can hold."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        return ToolResult("", data={"seen": {args.view}})


class NotANumber(Good):
    """Hand out a number that JSON does not know."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        return ToolResult("", data={"share": float("nan")})


class Textless(Good):
    """Say something that is no text."""

    def __call__(self, args: Any, workspace: Workspace) -> Any:
        return None


class Silent(Good):
    """Refuse without a word."""

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        raise ToolError


class Vague(Good):
    """Take anything."""

    class Args(ToolArgs):
        """Anything."""

        view: Any


class Mixes(Good):
    """Say the size of a view, and how many were asked about."""

    batch_size = 3

    def run_many(self, calls: Any) -> Any:
        return [ToolResult(f"{workspace.view(0).size} {len(calls)}") for _, workspace in calls]


class Hangs(Good):
    """Say nothing for a while."""

    deadline_s = 0.01

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        time.sleep(0.1)
        return ToolResult("at last")


class Hungry(Good):
    """Need a lot of memory."""

    memory_mb = 60.0

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        return ToolResult(str(len(bytearray(500 * 2**20))))


BREACHES: dict[type[Tool], str] = {
    Undocumented: "no docstring",
    BadlyNamed: "expected letters, digits",
    Unfaithful: "fidelity is 'guessed'",
    Raises: "raised IndexError",
    Leaves: "raised SystemExit",
    Hungry: "needed more than 60 MB",
    Counts: "another result after other calls",
    Draws: "changed the workspace",
    Adds: "numbered a view itself",
    Outside: "a view outside its image",
    TooLarge: "expected RGB within",
    Unrecordable: "data is not JSON",
    NotANumber: "data is not JSON",
    Textless: "expected a ToolResult",
    Mixes: "another result together with others",
    Hangs: "took longer than 0.01 s",
    Silent: "without a text",
    Vague: "does not say what 'view' is",
}


def test_the_good_tool_passes() -> None:
    check_tool(Good(), calls=10)


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.__name__)
def test_a_breach_is_noticed(breach: type[Tool]) -> None:
    with pytest.raises(AssertionError, match=BREACHES[breach]):
        check_tool(breach(), calls=10)
