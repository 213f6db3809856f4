"""A server of the Model Context Protocol that offers tools on the images of a folder.

`list_images` names what is there, `open_image` opens one and returns a handle, and every other tool
takes that handle as its argument `study`. A tool is called as in an episode: within its limits,
from the original pixels, and a mistake is a result with `isError` that says what was expected. What
a client gets are views and the tools' texts, nothing else of a file's header.
"""

import base64
import io
import json
import logging
from collections.abc import Sequence
from typing import Annotated, Any

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from pydantic import Field

from medgym.contracts import checked_result, fault_of
from medgym.errors import RunError, ToolError, UserError
from medgym.failures import Failure, at
from medgym.imaging.study import ImageRef
from medgym.numbers_as_text import parsed
from medgym.question import caption_of, first_line_of
from medgym.tool import Tool, ToolArgs, ToolResult, schema_of
from medgym.tool_call import limited
from medgym.uris import file_uri
from medgym.workspace import View, Workspace

from .open_images import MOST_VIEWS, OpenImages
from .served_folder import ServedFolder

HANDLE = "study"
"""The argument of every tool that says which open image is meant."""

LIST, OPEN = "list_images", "open_image"

THREADS = 8
"""Calls that are done at once."""

INSTRUCTIONS = (
    f"Medical images to look at. {LIST} names them, {OPEN} opens one and returns its first view "
    f"and a handle. Every other tool takes that handle as {HANDLE}, and shows views that are "
    "numbered from 0, from the original pixels. A box is [x0, y0, x1, y1] in thousandths of its "
    "view (0 to 1000), from the top left."
)


class _ListArgs(ToolArgs):
    under: Annotated[str, Field(description="only what is in this folder")] = ""


class _OpenArgs(ToolArgs):
    path: Annotated[str, Field(description=f"as {LIST} names it")]
    prior: Annotated[str | None, Field(description="an earlier image to compare with")] = None
    plane: Annotated[str | None, Field(description="of a volume: the plane shown first")] = None
    index: Annotated[int | None, Field(ge=0, description="which image of that plane")] = None
    series: Annotated[str | None, Field(description="which of several series")] = None
    frame: Annotated[int | None, Field(ge=0, description="which frame of a file")] = None


class _Own(Tool):
    """What a server does itself. It is no tool of episodes; its schema is made as theirs is."""

    def __call__(self, args: Any, workspace: Any) -> ToolResult:
        raise NotImplementedError


class _List(_Own):
    """List the images of the folder by their paths. A path that ends in / is a folder of DICOM
    files, which can be opened as one image; name it as `under` to list its files."""

    name = LIST
    Args = _ListArgs


class _Open(_Own):
    """Open an image and show it. Returns a handle, which the other tools take."""

    name = OPEN
    Args = _OpenArgs


class Desk:
    """What a server does with each call, without the protocol.

    Args:
        folder: whose images are offered.
        tools: what can be done to an open image.
        view_size: the greatest side of a view, in pixels.

    Raises:
        UserError: a tool that cannot be offered: it needs gold, or its name or an argument is ours.
    """

    def __init__(self, folder: ServedFolder, tools: Sequence[Tool], view_size: int) -> None:
        self._folder = folder
        self._tools = {tool.name: tool for tool in tools}
        self._images = OpenImages(view_size)
        self.schemas = [schema_of(_List()), schema_of(_Open()), *map(_with_handle, tools)]

    def call(self, name: str, arguments: dict[str, Any]) -> list[types.ContentBlock]:
        """What a call yields, as content of the protocol.

        Raises:
            ToolError: the client's mistake, a call that is late, or a tool that failed.
        """
        try:
            if name == LIST:
                return self._listed(_List().parse(arguments))
            if name == OPEN:
                return self._opened(_Open().parse(arguments))
            tool = self._tools.get(name)
            if tool is None:
                known = ", ".join((LIST, OPEN, *self._tools))
                raise ToolError(f"there is no tool {name[:40]!r}; expected one of {known}")
            return self._used(tool, arguments)
        except (UserError, RunError, Failure) as error:
            said = self._folder.without_paths(str(error))
            raise ToolError(said) from error

    def _listed(self, args: Any) -> list[types.ContentBlock]:
        names, more = self._folder.listed(args.under)
        lines = [*names, "and more; name a folder as under"] if more else names
        return [_text("\n".join(lines) or "There are no images.")]

    def _opened(self, args: Any) -> list[types.ContentBlock]:
        wanted = {key: getattr(args, key) for key in ("plane", "index", "series", "frame")}
        refs = [ImageRef(uri=file_uri(self._folder.path(args.path)), **wanted)]
        if args.prior is not None:
            uri = file_uri(self._folder.path(args.prior))
            refs.append(ImageRef(uri=uri, role="prior", **wanted))
        with at("image"):
            opened = self._images.open(refs)
        workspace = opened.workspace
        lines = [
            first_line_of(view, workspace, ref.role)
            for ref, view in zip(refs, workspace.views, strict=True)
        ]
        said = "\n".join((f"{HANDLE}: {opened.handle}", *lines))
        return [*map(_image, workspace.views), _text(said)]

    def _used(self, tool: Tool, arguments: dict[str, Any]) -> list[types.ContentBlock]:
        given = dict(arguments)
        handle = given.pop(HANDLE, None)
        if not isinstance(handle, str):
            raise ToolError(
                f"{tool.name}: {HANDLE} is not given; expected what {OPEN} returned", "type"
            )
        opened = self._images.get(handle)
        with opened.busy:
            shown = len(opened.workspace.views)
            if shown >= MOST_VIEWS:
                raise ToolError(f"this image has {shown} views, the most; expected it opened again")
            try:
                return _shown(tool, given, opened.workspace)
            except ToolError as error:
                if fault_of(error) == "late":  # it still runs, and may write into what it has
                    opened.workspace = opened.workspace.copy(shown)
                raise


def _shown(tool: Tool, given: dict[str, Any], workspace: Workspace) -> list[types.ContentBlock]:
    """Call a tool as an episode does: its views are added, and announced before its text."""
    args, _ = parsed(tool, given)
    refused: ToolError | None = None
    with at("tool", tool.name):
        try:
            result = checked_result(limited(tool, args, workspace))
            views = [workspace.add(view, made_by=tool.name) for view in result.views]
        except ToolError as error:
            refused = error
    if refused is not None:
        raise refused
    lines = [caption_of(view, workspace) for view in views]
    lines += [result.text] if result.text else []
    return [*map(_image, views), _text("\n".join(lines))]


def server_of(desk: Desk) -> "Server[Any]":
    """The server, which any transport of the SDK can run."""
    from medgym import __version__

    limit = anyio.CapacityLimiter(THREADS)
    listed = types.ListToolsResult(
        tools=[
            types.Tool(
                name=schema["name"],
                description=schema["description"],
                input_schema=schema["parameters"],
                annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
            )
            for schema in desk.schemas
        ]
    )

    async def list_tools(
        context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return listed

    async def call_tool(
        context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        arguments = dict(params.arguments or {})
        try:
            content = await anyio.to_thread.run_sync(
                desk.call, params.name, arguments, abandon_on_cancel=True, limiter=limit
            )
        except ToolError as error:
            return types.CallToolResult(content=[_text(f"{error}.")], is_error=True)
        return types.CallToolResult(content=content)

    logging.getLogger("mcp").setLevel(logging.ERROR)
    return Server(
        "medgym",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _with_handle(tool: Tool) -> dict[str, Any]:
    """A tool's schema, with the handle as its first argument."""
    if tool.name in (LIST, OPEN):
        raise UserError(f"the tool {tool.name!r} has a name of the server's own; fix: leave it out")
    if getattr(tool, "needs_gold", False):
        raise UserError(
            f"the tool {tool.name!r} needs the gold of a case, and a folder has none; fix: choose "
            "another back end or fidelity"
        )
    schema = schema_of(tool)
    parameters = json.loads(json.dumps(schema["parameters"]))
    if HANDLE in parameters["properties"]:
        raise UserError(
            f"the tool {tool.name!r} has an argument {HANDLE!r}, as the server has; fix: leave the "
            "tool out"
        )
    handle = {"type": "string", "description": f"the handle that {OPEN} returned"}
    parameters["properties"] = {HANDLE: handle, **parameters["properties"]}
    parameters["required"] = [HANDLE, *parameters.get("required", ())]
    return {**schema, "parameters": parameters}


def _text(text: str) -> types.TextContent:
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return types.TextContent(text=clean)


def _image(view: View) -> types.ImageContent:
    written = io.BytesIO()
    view.picture.save(written, "PNG", compress_level=1)
    data = base64.b64encode(written.getvalue()).decode("ascii")
    return types.ImageContent(data=data, mime_type="image/png")
