"""A folder of images, and servers over HTTP on a thread of the test's process."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image
from pydicom.data import get_testdata_file

from medgym.tools.mcp.connection import close_connections


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture, a CT slice and a sub-folder, beside what must not be offered."""
    made = tmp_path_factory.mktemp("images")
    (made / "eyes").mkdir()
    Image.linear_gradient("L").resize((90, 60)).save(made / "eyes" / "left.png")
    shutil.copy(str(get_testdata_file("CT_small.dcm")), made / "ct.dcm")
    (made / "notes.txt").write_text("the answer is B")
    (made / ".hidden.png").write_bytes(b"")
    secret = tmp_path_factory.mktemp("secret")
    Image.new("L", (9, 9)).save(secret / "secret.png")
    (made / "link.png").symlink_to(secret / "secret.png")
    (made / "linked").symlink_to(secret)
    return made


class Served:
    """A server that is running.

    Attributes:
        url: where it answers. stop: ends it.
    """

    def __init__(self, app: Any, port: int = 0) -> None:
        config = uvicorn.Config(
            app, "127.0.0.1", port, log_config=None, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            self._thread.join(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


Serving = Callable[..., Served]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Starts servers that end with the test, after the connections to them."""
    started: list[Served] = []

    def start(app: Any, port: int = 0) -> Served:
        started.append(Served(app, port))
        return started[-1]

    yield start
    close_connections()
    for each in started:
        each.stop()
