"""The server, asked by the SDK's own client: in this process, and over HTTP."""

import asyncio
import base64
import io
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

import medgym
from medgym.errors import ToolError, UserError
from medgym.tool import Tool, ToolArgs, ToolResult, load_tools
from medgym.tools.mcp import open_images
from medgym.tools.mcp.http import address_of, application, check_address, token_of
from medgym.tools.mcp.served_folder import ServedFolder
from medgym.tools.mcp.server import Desk, server_of

TOKEN = "0123456789abcdefghij"


def desk_of(folder: Path, tools: Any = ("zoom", "window")) -> Desk:
    return Desk(ServedFolder(folder), load_tools(tools), 64)


Call = Callable[..., Awaitable[tuple[str, list[Image.Image], bool]]]


def asked(client: Client) -> Call:
    """Calls of tools as (text, pictures, whether it is an error)."""

    async def call(name: str, **arguments: Any) -> tuple[str, list[Image.Image], bool]:
        result = await client.call_tool(name, arguments)
        pictures = [
            Image.open(io.BytesIO(base64.b64decode(each.data)))
            for each in result.content
            if each.type == "image" and each.mime_type == "image/png"
        ]
        texts = [each.text for each in result.content if each.type == "text"]
        return "\n".join(texts), pictures, result.is_error

    return call


def with_client(server: Any, do: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Client(server) as client:
            await do(client)

    asyncio.run(main())


def said_by(content: Sequence[types.ContentBlock]) -> str:
    """The text of what a desk yields."""
    last = content[-1]
    assert isinstance(last, types.TextContent)
    return last.text


def handle_in(text: str) -> str:
    found = re.match(r"study: ([0-9a-f]{16})\n", text)
    assert found is not None, text
    return found[1]


def test_a_client_lists_opens_and_looks(folder: Path) -> None:
    async def do(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["list_images", "open_image", "zoom", "window"]
        zoom = tools["zoom"].input_schema
        assert zoom["required"] == ["study", "view", "box"]
        given = medgym.load("tools", "zoom")().schema()["parameters"]["properties"]
        assert {k: v for k, v in zoom["properties"].items() if k != "study"} == given
        call = asked(client)
        assert await call("list_images") == ("ct.dcm\neyes/left.png", [], False)
        text, pictures, _ = await call("open_image", path="ct.dcm")
        handle = handle_in(text)
        assert "View 0: image 0, 128 x 128 pixels." in text
        assert [each.size for each in pictures] == [(64, 64)]
        text, pictures, wrong = await call("zoom", study=handle, view=0, box=[0, 0, 500, 250])
        assert (text, wrong) == ("View 1: 64 x 32 pixels of image 0.", False)
        assert [each.size for each in pictures] == [(64, 32)]
        text, pictures, _ = await call("window", study=handle, view=1, preset="bone")
        assert text.startswith("View 2: 64 x 32 pixels of image 0, window 400, 1800.")

    with_client(server_of(desk_of(folder)), do)


def test_mistakes_are_results_that_say_what_was_expected(folder: Path) -> None:
    (folder / "eyes" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")

    async def do(client: Client) -> None:
        call = asked(client)
        handle = handle_in((await call("open_image", path="eyes/left.png"))[0])
        for said, name, arguments in (
            ("no tool 'cut'; expected one of list_images", "cut", {}),
            ("study is not given; expected what open_image", "zoom", {"view": 0}),
            ("no open image 'x'", "zoom", {"study": "x", "view": 0, "box": [0, 0, 9, 9]}),
            ("there is no view 7", "zoom", {"study": handle, "view": 7, "box": [0, 0, 9, 9]}),
            ("does not lie in view 0", "zoom", {"study": handle, "view": 0, "box": [9, 0, 3, 9]}),
            ("box: Field required", "zoom", {"study": handle, "view": 0}),
            ("path: Field required", "open_image", {}),
            ("a symbolic link", "open_image", {"path": "link.png"}),
            ("eyes/broken.png", "open_image", {"path": "eyes/broken.png"}),
        ):
            text, pictures, wrong = await call(name, **arguments)
            assert wrong, (name, arguments)
            assert not pictures
            assert said in text
            assert str(folder) not in text

    try:
        with_client(server_of(desk_of(folder)), do)
    finally:
        (folder / "eyes" / "broken.png").unlink()


def test_no_client_reaches_the_views_of_another(folder: Path) -> None:
    server = server_of(desk_of(folder))

    async def main() -> None:
        async with Client(server) as one, Client(server, mode="legacy") as other:
            first = handle_in((await asked(one)("open_image", path="ct.dcm"))[0])
            second = handle_in((await asked(other)("open_image", path="ct.dcm"))[0])
            assert first != second
            await asked(one)("zoom", study=first, view=0, box=[0, 0, 500, 500])
            text, _, _ = await asked(other)("zoom", study=second, view=0, box=[0, 0, 500, 500])
            assert text.startswith("View 1:")  # not View 2: these are its own

    asyncio.run(main())


def test_what_is_open_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_images, "MOST_OPEN", 2)
    monkeypatch.setattr("medgym.tools.mcp.server.MOST_VIEWS", 2)
    desk = desk_of(folder)
    handles = [handle_in(said_by(desk.call("open_image", {"path": "ct.dcm"}))) for _ in range(3)]
    zoom = {"view": 0, "box": [0, 0, 500, 500]}
    with pytest.raises(ToolError, match="it was closed as others were opened"):
        desk.call("zoom", {"study": handles[0], **zoom})
    desk.call("zoom", {"study": handles[1], **zoom})
    with pytest.raises(ToolError, match="2 views, the most"):
        desk.call("zoom", {"study": handles[1], **zoom})
    monkeypatch.setenv("MEDGYM_IMAGE_MEMORY", "1MiB")
    with pytest.raises(ToolError, match="images may take 1 MiB"):
        desk.call("open_image", {"path": "ct.dcm"})


def test_a_volume_opens_in_its_middle_and_nothing_of_the_header_is_told(folder: Path) -> None:
    desk = desk_of(folder, ("slice",))
    import nibabel
    import numpy as np

    name = folder / "volume.nii"
    nibabel.save(
        nibabel.Nifti1Image(np.arange(210, dtype=np.int16).reshape(5, 6, 7), np.eye(4)), name
    )
    try:
        said = said_by(desk.call("open_image", {"path": "volume.nii"}))
        assert "axial 3 of 0 to 6. Other planes: coronal 0 to 5, sagittal 0 to 4." in said
        told = said_by(desk.call("slice", {"study": handle_in(said), "view": 0, "index": 5}))
        assert "axial 5 of 0 to 6" in told
        chosen = {"path": "volume.nii", "plane": "sagittal", "index": 1}
        assert "sagittal 1 of 0 to 4" in said_by(desk.call("open_image", chosen))
    finally:
        name.unlink()
    prior = desk.call("open_image", {"path": "ct.dcm", "prior": "ct.dcm"})
    assert [each.type for each in prior] == ["image", "image", "text"]
    assert "View 1: image 1, prior, 128 x 128 pixels." in said_by(prior)
    assert "CompressedSamples" not in repr(prior)  # the patient's name in that file


class Gold(Tool):
    """Say the gold."""

    name = "gold"
    needs_gold = True
    Args = ToolArgs

    def __call__(self, args: Any, workspace: Any) -> ToolResult:
        return ToolResult("")


class Crash(Gold):
    """Fail."""

    name = "crash"
    needs_gold = False

    def __call__(self, args: Any, workspace: Any) -> ToolResult:
        raise OSError(13, "a patient's name")


class Taken(Gold):
    """Take our argument."""

    name = "taken"
    needs_gold = False

    class Args(ToolArgs):
        """Ours."""

        study: str


def test_tools_that_cannot_be_offered_are_refused(folder: Path) -> None:
    for tool, said in ((Gold(), "needs the gold"), (Taken(), "has an argument 'study'")):
        with pytest.raises(UserError, match=said):
            desk_of(folder, [tool])


def test_a_tool_that_fails_is_an_error_without_its_text(folder: Path) -> None:
    desk = desk_of(folder, [Crash()])
    handle = handle_in(said_by(desk.call("open_image", {"path": "ct.dcm"})))
    with pytest.raises(ToolError, match="crash raised PermissionError") as failed:
        desk.call("crash", {"study": handle})
    assert "patient" not in str(failed.value)


def test_over_http_a_request_needs_the_token(folder: Path, serving: Any) -> None:
    served = serving(application(server_of(desk_of(folder)), TOKEN))
    for headers in ({}, {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": TOKEN}):
        answer = httpx2.post(served.url, headers=headers, json={})
        assert (answer.status_code, answer.content) == (401, b"")

    async def main() -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(served.url, http_client=http)) as client,
        ):
            text, pictures, _ = await asked(client)("open_image", path="eyes/left.png")
            assert [each.size for each in pictures] == [(64, 43)]
            args = {"study": handle_in(text), "view": 0, "box": [0, 0, 500, 500]}
            assert (await asked(client)("zoom", **args))[0].startswith("View 1")

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_http_on_loopback(folder: Path, serving: Any, mode: str) -> None:
    served = serving(application(server_of(desk_of(folder)), None))

    async def main() -> None:
        async with Client(served.url, mode=mode) as client:
            text, _, _ = await asked(client)("open_image", path="ct.dcm")
            args = {"study": handle_in(text), "view": 0, "box": [0, 0, 500, 500]}
            assert (await asked(client)("zoom", **args))[0].startswith("View 1")

    asyncio.run(main())
    rebound = httpx2.post(served.url, headers={"Host": "evil.example"}, json={})
    assert rebound.status_code in (400, 421)


def test_addresses_and_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDGYM_MCP_TOKEN", raising=False)
    assert address_of("127.0.0.1:80") == ("127.0.0.1", 80)
    assert address_of("[::1]:0") == ("::1", 0)
    for text in ("8765", "localhost", "localhost:", ":80", "localhost:99999", "localhost:x"):
        with pytest.raises(UserError, match="write HOST:PORT"):
            address_of(text)
    with pytest.raises(UserError, match="could see the images"):
        check_address("0.0.0.0", None)
    check_address("0.0.0.0", TOKEN)
    check_address("127.0.0.1", None)
    assert token_of(None) is None
    file = tmp_path / "key"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o644)
    with pytest.raises(UserError, match="others can read"):
        token_of(file)
    file.chmod(0o600)
    assert token_of(file) == TOKEN
    monkeypatch.setenv("MEDGYM_MCP_TOKEN", "short word")
    with pytest.raises(UserError, match="no good") as refused:
        token_of(None)
    assert "short word" not in str(refused.value)
