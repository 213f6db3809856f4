"""inspect_ai's client of the Model Context Protocol, which is another than the SDK's."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from medgym.tool import load_tools
from medgym.tools.mcp.http import application
from medgym.tools.mcp.served_folder import ServedFolder
from medgym.tools.mcp.server import Desk, server_of


def test_inspects_client_opens_an_image_and_looks(folder: Path, serving: Any) -> None:
    inspect_tools = pytest.importorskip("inspect_ai.tool")
    desk = Desk(ServedFolder(folder), load_tools(["zoom"]), 64)
    served = serving(application(server_of(desk), None))

    async def main() -> None:
        source = inspect_tools.mcp_tools(
            inspect_tools.mcp_server_http(name="medgym", url=served.url)
        )
        async with inspect_tools.mcp_connection([source]):
            tools = {inspect_tools.ToolDef(tool).name: tool for tool in await source.tools()}
            assert set(tools) == {"list_images", "open_image", "zoom"}
            image, text = await tools["open_image"](path="ct.dcm")
            assert image.image.startswith("data:image/png;base64,")
            handle = text.text.partition("study: ")[2].split()[0]
            _, text = await tools["zoom"](study=handle, view=0, box=[0, 0, 500, 500])
            assert text.text.startswith("View 1: 64 x 64 pixels")
            with pytest.raises(inspect_tools.ToolError, match="there is no view 9"):
                await tools["zoom"](study=handle, view=9, box=[0, 0, 500, 500])

    asyncio.run(main())
