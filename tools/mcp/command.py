"""The command `medgym mcp`: serve the tools to any client of the Model Context Protocol."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from medgym.commands.shared_options import tool_names
from medgym.episode import DEFAULT_VIEW_SIZE
from medgym.errors import UserError
from medgym.tool import load_tools

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

OFFERED = "zoom,slice,window,frame,enhance,measure,mirror,compare,annotate,segment"
"""Tools that need no model and no corpus."""


@app.callback()
def mcp() -> None:
    """Offer the tools to clients of the Model Context Protocol.

    Example: medgym mcp serve scans
    """


@app.command("serve")
def serve(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the images.")],
    tools: Annotated[
        str, typer.Option("--tools", metavar="A,B", help="Tools, joined by commas.")
    ] = OFFERED,
    view_size: Annotated[
        int, typer.Option("--view-size", min=1, help="Greatest side of a view in pixels.")
    ] = DEFAULT_VIEW_SIZE,
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="HOST:PORT", help="Serve HTTP; without it, stdio."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="The token that requests over HTTP must carry; else MEDGYM_MCP_TOKEN holds it.",
        ),
    ] = None,
) -> None:
    """Offer tools on the images of a folder, and on no file outside it.

    Example: medgym mcp serve scans --tools zoom,window --http 127.0.0.1:8765
    """
    from .http import address_of, check_address, listen, token_of
    from .served_folder import ServedFolder
    from .server import Desk, server_of

    address = None if http is None else address_of(http)
    if address is None and token_file is not None:
        raise UserError("--token-file is of no use without --http; fix: add --http, or remove it")
    token = None if address is None else token_of(token_file)
    if address is not None:
        check_address(address[0], token)
    desk = Desk(ServedFolder(folder), load_tools(tool_names(tools, False)), view_size)
    server = server_of(desk)
    if address is not None:
        listen(server, *address, token)
        return

    async def over_stdio() -> None:
        from mcp.server.stdio import stdio_server

        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    asyncio.run(over_stdio())
