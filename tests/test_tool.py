"""Tools: arguments are checked strictly, errors say what was expected, functions become tools."""

import subprocess
import sys
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

import medgym
from medgym.errors import ToolError, UserError
from medgym.tool import BoxArgument, Tool, ToolArgs, ToolResult, ViewNumber, load_tools
from medgym.workspace import Workspace


class Look(Tool):
    """Looks at a box
    of a view.

    This is for programmers.
    """

    name = "look"

    class Args(ToolArgs):
        """Not for a policy's eyes."""

        view: ViewNumber
        box: BoxArgument
        style: Literal["plain", "bright"] = "plain"
        title: str = ""

    def __call__(self, args: Args, workspace: Workspace) -> ToolResult:
        return ToolResult(args.style)


def test_a_schema_holds_what_a_policy_reads_and_nothing_else() -> None:
    schema = Look().schema()
    assert schema["name"] == "look"
    assert schema["description"] == "Looks at a box of a view."
    parameters = schema["parameters"]
    assert set(parameters["properties"]) == {"view", "box", "style", "title"}
    assert parameters["required"] == ["view", "box"]
    assert parameters["additionalProperties"] is False
    assert "programmers" not in str(schema)
    assert "eyes" not in str(schema)
    assert "title" not in parameters["properties"]["view"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "view"),
        ({"view": 0}, "box"),
        ({"view": -1, "box": [0, 0, 1, 1]}, "view"),
        ({"view": "0", "box": [0, 0, 1, 1]}, "view"),
        ({"view": 0.0, "box": [0, 0, 1, 1]}, "view"),
        ({"view": True, "box": [0, 0, 1, 1]}, "view"),
        ({"view": None, "box": [0, 0, 1, 1]}, "view"),
        ({"view": 0, "box": [0, 0, 1]}, "box"),
        ({"view": 0, "box": [0, 0, 1, 1, 1]}, "box"),
        ({"view": 0, "box": "0,0,1,1"}, "box"),
        ({"view": 0, "box": ["0", 0, 1, 1]}, "box"),
        ({"view": 0, "box": [True, 0, 1, 1]}, "box"),
        ({"view": 0, "box": [[0], 0, 1, 1]}, "box"),
        ({"view": 0, "box": [float("nan"), 0, 1, 1]}, "box"),
        ({"view": 0, "box": [float("inf"), 0, 1, 1]}, "box"),
        ({"view": 0, "box": {"x": 0}}, "box"),
        ({"view": 0, "box": [0, 0, 1, 1], "style": "loud"}, "style"),
        ({"view": 0, "box": [0, 0, 1, 1], "x" * 500: 1}, "xxx"),
        ({"view": 0, "box": [10**400, 0, 1, 1]}, ""),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ToolError, match=r"^look: .*expected") as error:
        Look().parse(arguments)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_huge_number_of_a_view_is_the_workspaces_to_refuse() -> None:
    assert Look().parse({"view": 10**400, "box": [0, 0, 1, 1]}).model_dump()["view"] == 10**400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["view", "box", "style", "title", ""]) | st.text(), json_values)
)
def test_no_arguments_raise_anything_else(arguments: dict[str, Any]) -> None:
    said = ""
    try:
        Look().parse(arguments)
    except ToolError as error:
        said = str(error)
    assert not said or "expected" in said


def test_a_function_becomes_a_tool() -> None:
    @medgym.as_tool
    def count(view: ViewNumber, times: Annotated[int, Field(le=9)] = 2) -> str:
        """Counts."""
        return f"{view} x {times}"

    assert isinstance(count, Tool)
    assert (count.name, count.description, count.fidelity) == ("count", "Counts.", "vision")
    assert set(count.schema()["parameters"]["properties"]) == {"view", "times"}
    workspace = Workspace([])
    assert count(count.parse({"view": 3}), workspace) == ToolResult("3 x 2")
    with pytest.raises(ToolError, match="times"):
        count.parse({"view": 3, "times": 10})


def test_a_function_that_wants_the_workspace_gets_it() -> None:
    @medgym.as_tool
    def size(workspace: Workspace) -> ToolResult:
        """Says how large views are."""
        return ToolResult(str(workspace.view_size), data={"size": workspace.view_size})

    assert size.schema()["parameters"]["properties"] == {}
    assert size(size.parse({}), Workspace([], view_size=77)).data == {"size": 77}


def test_a_function_without_types_is_no_tool() -> None:
    def vague(view) -> str:  # type: ignore[no-untyped-def]
        """Vague."""
        return str(view)

    with pytest.raises(TypeError, match="'view' of the tool vague has no type"):
        medgym.as_tool(vague)


@pytest.mark.parametrize(
    "first",
    [
        "import medgym.tool",
        "import medgym; medgym.as_tool",
        "from medgym.tool import Tool",
        "from medgym import tool",
        "from medgym import as_tool",
    ],
)
def test_the_module_and_the_decorator_have_names_of_their_own(first: str) -> None:
    program = f"""
{first}
import medgym, medgym.tool, types
assert type(medgym.tool) is types.ModuleType, medgym.tool
@medgym.as_tool
def f(view: int) -> str:
    "Doc."
    return "x"
assert f.schema()["parameters"]["required"] == ["view"]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ("zoom", r"the tools are the text 'zoom'; fix: give a list, as \['zoom'\]"),
        ([len], "a builtin_function_or_method is no tool; fix: give a registered name"),
        ([int], "a int is no tool"),
    ],
)
def test_what_is_no_tool_is_refused(tools: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_tools(tools)
