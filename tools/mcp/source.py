"""`mcp:REST` where tools are named: the tools of a server, to be used in episodes."""

import sys

from medgym.errors import UserError
from medgym.tool import Tool

from .target import target_of

_SAID: set[str] = set()
"""What was warned of."""


def mcp_tools(rest: str) -> list[Tool]:
    """Tools of a server of the Model Context Protocol: `mcp:URL` or `mcp:COMMAND`, with options.

    Raises:
        UserError: a wrong spec, a server that cannot be reached or lists no such tool, or none that
            can be offered. One of several that cannot be is left out, and a line on stderr says so.
    """
    target = target_of(rest)
    from mcp.shared.exceptions import MCPError

    from .connection import LostConnection, tools_of
    from .remote_tool import McpTool

    try:
        listed = tools_of(target)
    except TimeoutError:
        raise UserError(f"mcp: {target.name} does not answer; fix: start it first") from None
    except LostConnection as error:
        said = f"{error}, after writing {error.wrote!r}" if error.wrote else str(error)
        fix = "" if "fix:" in said else "; fix: check that it runs"
        raise UserError(f"mcp: {said}{fix}") from error
    except MCPError as error:
        raise UserError(
            f"mcp: {target.name} lists no tools (code {error.code}); fix: check the server"
        ) from error
    names = [tool.name for tool in listed]
    for name in target.only:
        if name not in names:
            known = ", ".join(names)
            raise UserError(f"mcp: {target.name} has no tool {name!r}; known: {known}")
    chosen = [tool for tool in listed if not target.only or tool.name in target.only]
    if not chosen:
        raise UserError(f"mcp: {target.name} lists no tools; fix: check the server")
    described = [tool.input_schema.get("properties") for tool in chosen]
    arguments = {name for each in described if isinstance(each, dict) for name in each}
    if target.image and target.image not in arguments:
        raise UserError(
            f"mcp: no tool of {target.name} has an argument {target.image!r}, which image= names; "
            f"fix: name one of {', '.join(sorted(arguments)) or 'none'}, or omit image="
        )
    made: list[Tool] = []
    refused: list[UserError] = []
    for tool in chosen:
        try:
            made.append(McpTool(target, tool))
        except UserError as error:
            refused.append(error)
    if refused and (target.only or not made):
        raise refused[0]
    for each in map(str, refused):
        if each not in _SAID:
            _SAID.add(each)
            print(f"medgym: warning: a tool of {target.name} is left out: {each}", file=sys.stderr)
    return made
