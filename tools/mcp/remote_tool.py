"""A tool of a server of the Model Context Protocol, as a tool of episodes.

Its schema is the server's, passed on as it is. With the option `image=ARG`, the argument ARG of its
tools is not written by the policy: in its place the policy names a `view`, and the server gets that
view's picture, as a PNG without anything else. A server that keeps no state makes the same call
yield the same result; no one can prove that of another's server.
"""

import base64
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import ConfigDict

from medgym.deadline import late
from medgym.errors import ToolError
from medgym.failures import Failure
from medgym.tool import Tool, ToolArgs, ToolResult
from medgym.workspace import View, Workspace

from .argument_schema import VIEW, fault_of, parameters_of
from .connection import LostConnection, call
from .results import plain_text, result_of, text_of
from .target import Target

MOST_DESCRIPTION = 1_000
"""Characters of a description: it is in every prompt."""

MOST_DEPTH = 50
"""How deeply an argument may be nested. What carries calls to a server fails at some hundred."""

_NAME = re.compile(r"[^A-Za-z0-9_-]")


class McpArgs(ToolArgs):
    """The arguments of a call, which the server's schema describes."""

    model_config = ConfigDict(extra="allow")


class McpTool(Tool):
    """A tool of a server.

    Args:
        target: the server.
        listed: the tool, as the server lists it.

    Raises:
        UserError: its schema is too long or none, or has an argument of our own name.
    """

    Args = McpArgs

    def __init__(self, target: Target, listed: types.Tool) -> None:
        self._target = target
        self._remote_name = listed.name
        vars(self)["name"] = _called(listed.name)
        self.deadline_s = target.timeout
        said = plain_text(listed.description or listed.title or listed.name, MOST_DESCRIPTION)
        self._description = " ".join(said.split())
        self._parameters, self._takes_image = parameters_of(target, listed)

    @property
    def description(self) -> str:
        """The server's."""
        return self._description

    def schema(self) -> dict[str, Any]:
        """The server's, with a view in the place of a picture."""
        return {
            "name": self.name,
            "description": self._description,
            "parameters": json.loads(self._parameters),
        }

    def parse(self, arguments: Mapping[str, Any]) -> ToolArgs:
        """Check the arguments of a call by the server's schema."""
        try:  # what JSON cannot hold would break the connection for everyone
            json.dumps(dict(arguments), allow_nan=False, ensure_ascii=False).encode("utf-8")
        except (TypeError, ValueError, RecursionError):
            raise ToolError(
                f"{self.name}: an argument is no JSON; expected texts and finite numbers", "type"
            ) from None
        if _is_deep(arguments):
            raise ToolError(
                f"{self.name}: an argument is nested too deeply; expected {MOST_DEPTH} levels or "
                "fewer",
                "type",
            )
        fault = fault_of(self._parameters, dict(arguments))
        if fault is not None:
            raise ToolError(f"{self.name}: {fault}", "type")
        return McpArgs(**arguments)

    def __call__(self, args: Any, workspace: Workspace) -> ToolResult:
        """Ask the server."""
        given = dict(args.model_extra or {})
        view: View | None = None
        if self._takes_image:
            view = workspace.view(int(given.pop(VIEW)))  # JSON's 1.0 is a whole number too
        with self._given(view) as picture:
            if picture is not None:
                given[self._target.image] = picture
            result = self._asked(given)
        if result.is_error:
            said = text_of(result.content).rstrip(". ") or "the server says only that it failed"
            raise ToolError(f"{self.name}: {said}")
        return result_of(result, workspace, view, self.name)

    def _asked(self, given: dict[str, Any]) -> types.CallToolResult:
        try:
            return call(self._target, self._remote_name, given)
        except TimeoutError:
            raise late(self.name, self._target.timeout) from None
        except LostConnection as error:
            failure = Failure("tool", f"{self.name}: {error}")
            if error.wrote:
                failure.add_note(f"its last words on stderr: {error.wrote}")
            raise failure from error
        except MCPError as error:
            if error.code == types.REQUEST_TIMEOUT:
                raise late(self.name, self._target.timeout) from None
            if error.code == types.INVALID_PARAMS:
                raise ToolError(f"{self.name}: {plain_text(error.message, 400)}") from None
            raise Failure("tool", f"{self.name}: the server failed (code {error.code})") from error

    @contextmanager
    def _given(self, view: View | None) -> Iterator[Any]:
        """What the server gets as the picture of a view."""
        if view is None:
            yield None
            return
        written = io.BytesIO()
        view.picture.save(written, "PNG")
        png = written.getvalue()
        if self._target.form == "path":
            handle, path = tempfile.mkstemp(suffix=".png", prefix="medgym-view-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(png)
                yield self._in_list(path)
            finally:
                os.unlink(path)
            return
        text = base64.b64encode(png).decode("ascii")
        yield self._in_list(
            f"data:image/png;base64,{text}" if self._target.form == "data-url" else text
        )

    def _in_list(self, picture: str) -> Any:
        return [picture] if self._takes_image == "array" else picture


def _is_deep(arguments: Mapping[str, Any]) -> bool:
    """Whether some argument is nested more than `MOST_DEPTH` times."""
    level: list[Any] = list(arguments.values())
    for _ in range(MOST_DEPTH):
        held = (each.values() if isinstance(each, dict) else each for each in level)
        level = [
            value
            for each in held
            if not isinstance(each, str | int | float | None)
            for value in each
        ]
    return bool(level)


def _called(name: str) -> str:
    """A server's name of a tool, in letters that every model's form of calls can write."""
    made = _NAME.sub("_", name)[:64]
    return made if made[:1].isalpha() else f"tool_{made}"[:64]
