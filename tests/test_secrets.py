"""Secrets are planted wherever a user may have one; nothing that is written may hold one."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from medgym.cases import open_cases
from medgym.cli import main
from medgym.episode import Rules
from medgym.messages import Reply, render_call
from medgym.policy import Policy, Sampling
from medgym.rollout import collect, collection
from medgym.storage.run_folder import RunFolder
from medgym.tool import Tool, ToolArgs, ToolResult
from tests.serving.fake_server import CHAT, Handler, Script, Server, answer, models, running

KEY, HUB, REPORTS, PASSWORD = "pl4nted-key", "pl4nted-hub", "pl4nted-reports", "pl4nted-pass"
PLANTED = re.compile(
    rb"pl4nted|DOE\^JOHN|" + base64.b64encode(f"me:{PASSWORD}".encode()).rstrip(b"=")
)
CASES = "phantom,question=diagnosis:test[:2]"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", HUB)
    monkeypatch.setenv("WANDB_API_KEY", REPORTS)
    monkeypatch.delenv("MEDGYM_API_KEY", raising=False)
    monkeypatch.setattr(collection, "BACK_OFF", 0.0)
    monkeypatch.setattr("medgym.agents.openai.http.FIRST_DELAY", 0.01)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.routes["/v1/models"] = models("other", "base")
        yield server


def written(folder: Path) -> Iterator[bytes]:
    """The bytes of every file, and what stands in compressed ones."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()
            if path.suffix == ".parquet":
                yield repr(parquet.read_table(path).to_pylist()).encode()


def assert_clean(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    for text in (*written(folder), said.out.encode(), said.err.encode()):
        found = PLANTED.search(text)
        assert found is None, text[max(0, found.start() - 80) : found.end() + 20]
    return said.err


def sent_back(handler: Handler) -> str:
    return f"you sent {dict(handler.headers)} and {handler.headers.get('Authorization')}"


def in_a_reply(handler: Handler, body: Any) -> None:
    answer(f"<think>{sent_back(handler)}</think><answer>A</answer>")(handler, body)


def in_an_error(status: int) -> Script:
    def play(handler: Handler, body: Any) -> None:
        text = f"{'x' * 60} {sent_back(handler)} {HUB}"  # cut in the middle of the key
        handler.say({"error": {"message": text}}, status)

    return play


def in_a_status(line: str) -> Script:
    def play(handler: Handler, body: Any) -> None:
        sent = handler.headers.get("Authorization")
        handler.wfile.write(
            f"{line} {'x' * 90} {sent} {sent}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        handler.close_connection = True

    return play


@pytest.mark.parametrize("user", ["", f"me:{PASSWORD}@"])
@pytest.mark.parametrize(
    ("listed", "asked", "status"),
    [
        (models("other", "base"), in_a_reply, 0),
        (models("other", "base"), in_an_error(500), 1),
        (models("other", "base"), in_an_error(400), 1),
        (models("other", "base"), in_an_error(401), 2),
        (models("other", "base"), in_an_error(404), 2),
        (in_an_error(401), in_a_reply, 2),
        (in_an_error(500), in_a_reply, 2),
        (in_a_status("HTTP/1.1 500"), in_a_reply, 2),
        (in_a_status("NONSENSE"), in_a_reply, 2),
        (models("other", "base"), in_a_status("NONSENSE"), 1),
    ],
)
def test_what_a_server_sends_back_is_not_kept(
    user: str, listed: Script, asked: Script, status: int, server: Server, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server.routes |= {"/v1/models": listed, CHAT: asked}
    url = server.url.replace("http://", f"http://{user}")
    policy, run = f"openai:{url}?retries=0#base", str(tmp_path / "run")
    assert main(["rollout", CASES, "--policy", policy, "--out", run]) == status
    if not status:
        assert main(["view", run]) == 0
        assert b"[redacted]" in b"".join(written(tmp_path))
    assert_clean(tmp_path, capsys)


class Opens(Tool):
    """Opens a file of its own."""

    name = "opens"

    class Args(ToolArgs):
        """No arguments."""

    def __call__(self, args: Any, workspace: Any) -> ToolResult:
        raise RuntimeError(f"cannot open /data/DOE^JOHN/1.dcm of patient DOE^JOHN by {HUB}")


class Asks(Policy):
    """Calls `opens`."""

    spec = "asks"

    async def act(self, conversation: Any, sampling: Sampling) -> Reply:
        return Reply(render_call("opens", {}))


def test_what_a_tool_raises_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder.create(tmp_path / "run", {"policy": "asks"})
    rules = Rules(tools=(Opens(),), view_size=64)
    for trajectory in collect(open_cases(CASES), Asks(), rules, out=folder):
        failure = trajectory.failure or ""
        assert re.fullmatch(r"tool: opens raised RuntimeError at test_secrets\.py:\d+", failure)
    assert len(folder.manifest["failed"]) == 2
    assert_clean(tmp_path, capsys)


def test_an_error_that_no_one_expected_shows_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ValueError(f"http://me:{PASSWORD}@h/v1 with {{'Authorization': 'Bearer {KEY}'}}")

    monkeypatch.setattr("medgym.registry.load", lambda kind, name: fail)
    assert main(["play"]) == 1
    monkeypatch.setenv("MEDGYM_TRACEBACK", "1")
    assert main(["play"]) == 1
    assert "Traceback" in assert_clean(tmp_path, capsys)
