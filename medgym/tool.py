"""What a tool is: a function from arguments and a workspace to text and new views.

A tool keeps no state of an episode and never sees the case: what it may know is in the workspace,
which holds no gold. Its docstring is what the policy reads; the JSON schema comes from its `Args`.
"""

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_type_hints

from annotated_types import Len
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from medgym.errors import ToolError, UserError
from medgym.failures import calling

if TYPE_CHECKING:
    from medgym.gold_tool import Gold
    from medgym.workspace import View, Workspace

Fidelity = Literal["vision", "predicted", "oracle"]

DEADLINE_S = 60.0
"""Seconds that a call of a tool may take unless the tool says otherwise."""

ViewNumber = Annotated[int, Field(ge=0, description="number of a view")]
"""The argument that addresses a view."""

BoxArgument = Annotated[list[float], Len(4, 4), Field(description="[x0, y0, x1, y1] in the view")]
"""The argument that is a box in the addressed view, in the environment's coordinates."""

MOST_POINTS = 100
"""The most points of one call."""

_Point = Annotated[list[float], Len(2, 2)]

PointArgument = Annotated[_Point, Field(description="[x, y] in the view")]
"""The argument that is a point in the addressed view, in the environment's coordinates.

A tool that has more to say writes `Annotated[PointArgument, Field(description="...")]`.
"""

PointsArgument = Annotated[
    list[_Point], Len(1, MOST_POINTS), Field(description="points, each [x, y] in the view")
]
"""The argument that is several points in the addressed view."""


class ToolArgs(BaseModel):
    """The arguments of a tool; unknown keys and wrong types are the policy's mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class ToolResult:
    """What a call yields: text and new views for the policy, `data` only for the record."""

    text: str = ""
    views: tuple["View", ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


class Tool(ABC):
    """Something that can be done to an image.

    Attributes:
        name: what a call names.
        version: of what it does; another one may yield other results for the same call.
        spec: what it was made of, as `segment?backend=sam2`; empty where it was made in code.
        fidelity: `vision` works from pixels, `predicted` is a model or noised gold, `oracle` gold.
        resources: what a tool with a model occupies, as `{"num_gpus": 0.5}` or `{"num_cpus": 2}`.
            On Ray such a tool has an actor of its own with these; load the model at the first
            call, not in `__init__`, for the tool itself is made elsewhere.
        batch_size: calls that `run_many` takes at once; with more than one, the calls of concurrent
            episodes are joined.
        needs_gold: the episode calls `with_gold` in place of the tool itself. Such a tool has no
            resources, and takes one call at once: gold stays where the episode is.
        deadline_s: seconds that a call may take, or a batch of calls, the first call that loads a
            model included. A call that takes longer is an observation, and the episode goes on.
            Calls run in a thread of their own for that. None is for a tool that only calculates
            and cannot hang: it is called directly, without a deadline.
        memory_mb: megabytes by which a call may make the memory of its process grow, the first call
            that loads a model included. A call that needs more is an observation. Such a tool runs
            in a process of its own. None is for a tool without a budget, which runs in a thread.
        caches: whether results are kept, and shared by all who make the same call on the same
            image. It is for a tool that takes long, and whose result follows from its arguments,
            the images, and the views that are addressed by arguments whose name or description
            speaks of a view.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    spec: str = ""
    fidelity: Fidelity = "vision"
    resources: Mapping[str, float] = {}
    batch_size: int = 1
    needs_gold: bool = False
    deadline_s: float | None = DEADLINE_S
    memory_mb: float | None = None
    caches: bool = False

    Args: ClassVar[type[ToolArgs]]

    @abstractmethod
    def __call__(self, args: Any, workspace: "Workspace") -> ToolResult:
        """Do it. Raises `ToolError` where the policy asked for what cannot be done."""

    def with_gold(self, args: Any, workspace: "Workspace", gold: "Gold") -> ToolResult:
        """Do it with what may be told of the case's gold; see `medgym.gold_tool`.

        Called where the tool `needs_gold`. It keeps nothing of the gold.
        """
        raise NotImplementedError(f"the tool {self.name} needs gold and has no with_gold")

    def run_many(
        self, calls: "Sequence[tuple[Any, Workspace]]"
    ) -> "Sequence[ToolResult | ToolError]":
        """Do several calls, of several episodes: one result or `ToolError` for each, in order.

        By default one after the other; a tool with a model runs them as one batch. What a call
        yields must not depend on the calls beside it.
        """
        results: list[ToolResult | ToolError] = []
        for args, workspace in calls:
            try:
                results.append(self(args, workspace))
            except ToolError as error:
                results.append(error)
        return results

    @property
    def description(self) -> str:
        """The docstring, as the policy reads it."""
        return " ".join(inspect.cleandoc(type(self).__doc__ or "").split("\n\n")[0].split())

    def schema(self) -> dict[str, Any]:
        """`{"name", "description", "parameters"}`; the parameters are a JSON schema."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": _plain(self.Args.model_json_schema()),
        }

    def parse(self, arguments: Mapping[str, Any]) -> ToolArgs:
        """Check the arguments of a call; `ToolError` names the argument and what was expected."""
        try:
            return self.Args.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part)[:40] for part in first["loc"]) or "arguments"
            expected = ", ".join(self.Args.model_fields)
            raise ToolError(
                f"{self.name}: {where}: {first['msg']}; expected the arguments {expected}",
                "name" if first["type"] in ("extra_forbidden", "missing") else "type",
            ) from None
        except OverflowError:
            raise ToolError(
                f"{self.name}: a number is too large; expected a smaller one", "type"
            ) from None


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Pydantic's titles and the docstring of `Args` tell a policy nothing: leave them out."""
    if "properties" in schema:
        schema = {k: v for k, v in schema.items() if k not in ("title", "description")}
        schema["properties"] = {k: _plain(v) for k, v in schema["properties"].items()}
        return schema
    return {k: v for k, v in schema.items() if k != "title"}


def as_tool(function: Callable[..., ToolResult | str]) -> Tool:
    """Make a tool of a typed function; `@medgym.as_tool` as a decorator.

    The parameters become the arguments, except one called `workspace`, which receives the episode's
    workspace. The docstring is what the policy reads. A plain `str` is returned as text.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    for name in parameters:
        if name != "workspace" and name not in hints:
            raise TypeError(f"the parameter {name!r} of the tool {function.__name__} has no type")
    wants_workspace = "workspace" in parameters
    fields: dict[str, Any] = {
        name: (hints[name], ... if p.default is inspect.Parameter.empty else p.default)
        for name, p in parameters.items()
        if name != "workspace"
    }

    def call(self: Tool, args: ToolArgs, workspace: "Workspace") -> ToolResult:
        given: dict[str, Any] = {name: getattr(args, name) for name in fields}
        result = function(**given, **({"workspace": workspace} if wants_workspace else {}))
        return ToolResult(result) if isinstance(result, str) else result

    made = type(
        function.__name__,
        (Tool,),
        {
            "__doc__": function.__doc__,
            "__module__": function.__module__,
            "__call__": call,
            "name": function.__name__,
            "Args": create_model("Args", __base__=ToolArgs, **fields),
        },
    )
    result: Tool = made()
    return result


def _check_declared(tool: Tool) -> None:
    """What a tool says of itself, as far as it plays with that."""
    kind = type(tool).__name__
    name: object = getattr(tool, "name", None)
    if not isinstance(name, str):
        raise UserError(f"the tool {kind} has no name; fix: write name = '...' in its class")
    args: object = getattr(tool, "Args", None)
    if not (isinstance(args, type) and issubclass(args, ToolArgs)):
        raise UserError(f"the tool {name} has no Args; fix: write class Args(ToolArgs) in {kind}")
    size: object = tool.batch_size
    if not isinstance(size, int) or size < 1:
        raise UserError(f"the tool {name} has batch_size = {size!r}; fix: give it 1 or more calls")
    if tool.needs_gold and (tool.resources or size > 1):
        raise UserError(
            f"the tool {name} needs gold, and has resources or a batch_size; fix: give it neither, "
            "for gold stays where the episode is"
        )
    budget: object = tool.memory_mb
    if budget is not None and not (isinstance(budget, int | float) and 0 < budget < 2**30):
        raise UserError(
            f"the tool {name} has memory_mb = {budget!r}; fix: give it megabytes above 0, or None "
            "for no budget"
        )
    limit: object = tool.deadline_s
    allowed = isinstance(limit, int | float) and 0 < limit <= threading.TIMEOUT_MAX
    if limit is not None and not allowed:
        raise UserError(
            f"the tool {name} has deadline_s = {limit!r}; fix: give it seconds above 0, or None "
            "for no deadline"
        )


def schema_of(tool: Tool) -> dict[str, Any]:
    """A tool's schema; `RunError` where the tool fails to say it."""
    with calling(f"the tool {tool.name}"):
        return tool.schema()


def load_tools(tools: Sequence[str | Tool]) -> tuple[Tool, ...]:
    """Tools by their specs, as `zoom`, `segment?backend=sam2` or `mcp:URL`, or as they are.

    Raises:
        UserError: an unknown name or option, a tool that is given twice, or something that is no
            tool.
    """
    from medgym.tool_spec import plug_in_of, tools_of

    if isinstance(tools, str):
        raise UserError(f"the tools are the text {tools!r}; fix: give a list, as [{tools!r}]")

    made: list[Tool] = []
    for asked in tools:
        for tool in tools_of(asked):
            if not isinstance(tool, Tool):
                raise UserError(
                    f"a {type(tool).__name__} is no tool; fix: give a registered name, a "
                    "medgym.Tool, or a function with @medgym.as_tool"
                )
            with calling(f"the tool {type(tool).__name__}"):
                _check_declared(tool)
            if isinstance(asked, str):
                kind, name = plug_in_of(asked)
                if kind == "tools" and name != tool.name:  # a policy would read one, be shown other
                    raise UserError(
                        f"the tool registered as {name!r} calls itself {tool.name!r}; fix: "
                        "register it by its own name"
                    )
                tool.spec = asked
            made.append(tool)
    names = [tool.name for tool in made]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"the tool {name!r} is given twice; fix: give it once")
    return tuple(made)
