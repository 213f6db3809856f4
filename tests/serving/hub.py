"""A Hugging Face Hub on this machine, for the real `huggingface_hub` client, and files outside it.

It publishes folders as data set repositories: what the repository holds, its tree in pages, files
with their ETags, large ones behind a redirect to another host, byte ranges, revisions, gates. It
can break off a download, hold it, send other bytes, and answer with a failure.

    def test_it(hub, tmp_path):
        cases = fetched_cases(hub, "vqa-rad", folder, "train", tmp_path / "data")
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from medgym.cases import CaseList, open_cases
from medgym.sources.published import PublishedSource

TOKEN = "hf_of_the_test"
LARGE = (".parquet", ".zip", ".png", ".jpg", ".gz", ".bin")
"""How the names of the files end that the Hub keeps as large ones (LFS)."""


@dataclass
class Faults:
    """What goes wrong with one file.

    Attributes:
        break_off: after how many bytes of an answer the connection ends; one for each answer.
        hold: after how many bytes it waits until `released`.
        corrupt: whether another byte is sent for the last one.
        status: the status of an answer that fails; one for each answer.
        short: how many bytes an answer lacks at its end, without a word of it.
    """

    break_off: list[int] = field(default_factory=list)
    hold: int | None = None
    corrupt: bool = False
    status: list[int] = field(default_factory=list)
    short: int = 0


@dataclass
class Repo:
    """A published repository: its commits by revision, and the files of each."""

    revisions: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: bool = False

    def commit(self, revision: str) -> str | None:
        return revision if revision in self.files else self.revisions.get(revision)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_id(data: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def is_large(path: str) -> bool:
    return path.endswith(LARGE)


class HubHandler(BaseHTTPRequestHandler):
    """Answers as the Hub does."""

    protocol_version = "HTTP/1.1"
    server: "Hub"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(parse_qs(body))

    def do_GET(self) -> None:
        self.answer({})

    def answer(self, body: Mapping[str, list[str]]) -> None:
        hub, url = self.server, urlsplit(self.path)
        with hub.lock:
            hub.asked.append((self.command, self.path, dict(self.headers)))
        if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/(.+))?", url.path):
            self.info(unquote(found[1]), unquote(found[2] or "main"))
        elif found := re.fullmatch(
            r"/api/datasets/([^/]+/[^/]+)/(tree|paths-info)/([^/]+)(?:/(.*))?", url.path
        ):
            repo, kind, revision, inside = (unquote(part or "") for part in found.groups())
            query = parse_qs(url.query)
            wanted = body.get("paths") if kind == "paths-info" else None
            self.tree(repo, revision, inside, query, wanted)
        elif found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url.path):
            self.resolve(*(unquote(part) for part in found.groups()))
        elif found := re.fullmatch(r"/large/([0-9a-f]{64})/(.+)", url.path):
            self.content(unquote(found[2]), hub.large[found[1]], f'"{found[1]}"')
        elif url.path.startswith("/elsewhere/"):
            name = unquote(url.path.removeprefix("/elsewhere/"))
            data = hub.elsewhere.get(name)
            if data is None:
                self.refuse(404, "")
            else:
                self.content(name, data, f'"{sha256(data)[:16]}"')
        else:
            self.refuse(404, "")

    def info(self, name: str, revision: str) -> None:
        repo = self.repo(name)
        if repo is None:
            return
        commit = repo.commit(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound")
            return
        siblings = [{"rfilename": path} for path in sorted(repo.files[commit])]
        gated = "auto" if repo.gated else False
        said = {"id": name, "sha": commit, "siblings": siblings, "gated": gated, "private": False}
        self.say(said | {"disabled": False, "tags": [], "downloads": 0, "likes": 0})

    def tree(
        self,
        name: str,
        revision: str,
        inside: str,
        query: Mapping[str, list[str]],
        wanted: Sequence[str] | None,
    ) -> None:
        repo = self.repo(name)
        if repo is None:
            return
        commit = repo.commit(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound")
            return
        entries = [_entry(path, data) for path, data in repo.files[commit].items()]
        folders = sorted({path.rpartition("/")[0] for path in repo.files[commit]} - {""})
        known = {"/".join(f.split("/")[: n + 1]) for f in folders for n in range(f.count("/") + 1)}
        for folder in sorted(known):
            oid = git_id(folder.encode())
            entries.append({"type": "directory", "path": folder, "oid": oid, "size": 0})
        if wanted is not None:
            self.say([entry for entry in entries if entry["path"] in wanted])
            return
        if inside:
            entries = [e for e in entries if str(e["path"]).startswith(f"{inside}/")]
            if not entries:
                self.refuse(404, "EntryNotFound")
                return
        if query.get("recursive", ["false"])[0].lower() not in ("true", "1"):
            depth = inside.count("/") + 1 if inside else 0
            entries = [e for e in entries if str(e["path"]).count("/") == depth]
        entries.sort(key=lambda entry: str(entry["path"]))
        first = int(query.get("cursor", ["0"])[0])
        last = first + self.server.page
        link = {}
        if last < len(entries):
            rest = f"{urlsplit(self.path).path}?recursive={query.get('recursive', ['false'])[0]}"
            link = {"Link": f'<{self.server.url}{rest}&cursor={last}>; rel="next"'}
        self.say(entries[first:last], link)

    def resolve(self, name: str, revision: str, path: str) -> None:
        repo = self.repo(name)
        if repo is None:
            return
        commit = repo.commit(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound")
            return
        if repo.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            known = self.headers.get("Authorization") is not None
            self.refuse(403 if known else 401, "GatedRepo")
            return
        data = repo.files[commit].get(path)
        if data is None:
            self.refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
            return
        if not is_large(path):
            self.content(path, data, f'"{git_id(data)}"', {"X-Repo-Commit": commit})
            return
        key = sha256(data)
        self.server.large[key] = data
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-ETag": f'"{key}"',
            "X-Linked-Size": str(len(data)),
            "Location": f"{self.server.other_url}/large/{key}/{quote(path)}",
            "Content-Length": "0",
        }
        self.head(302, headers)

    def content(
        self, path: str, data: bytes, etag: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """A file, or the part of it that is asked for."""
        faults = self.server.faults.get(path, Faults())
        if faults.status and self.command == "GET":
            self.refuse(faults.status.pop(0), "")
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not self.server.ranges:
            asked = None
        status, part, size = 200, data, len(data)
        more = {"ETag": etag, "Accept-Ranges": "bytes", **(headers or {})}
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
            if first >= size:
                self.head(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
                return
            status, part = 206, data[first : last + 1]
            more["Content-Range"] = f"bytes {first}-{last}/{size}"
        if faults.corrupt and part:
            part = part[:-1] + bytes([part[-1] ^ 1])
        part = part[: len(part) - faults.short]
        self.head(status, {**more, "Content-Length": str(len(part))})
        if self.command == "HEAD":
            return
        if faults.break_off and len(part) > faults.break_off[0]:
            self.wfile.write(part[: faults.break_off.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            return
        if faults.hold is not None and len(part) > faults.hold:
            self.wfile.write(part[: faults.hold])
            self.wfile.flush()
            self.server.held.set()
            self.server.released.wait(60)
            part = part[faults.hold :]
        self.wfile.write(part)

    def repo(self, name: str) -> Repo | None:
        repo = self.server.repos.get(name)
        if repo is None:  # the Hub does not tell strangers which private ones there are
            known = self.headers.get("Authorization") is not None
            self.refuse(404 if known else 401, "RepoNotFound")
        return repo

    def refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        said = {"X-Error-Code": code, "X-Error-Message": "refused"} if code else {}
        self.head(status, {**said, **(headers or {}), "Content-Length": "0"})

    def say(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        about = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        self.head(200, {**about, **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(data)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _entry(path: str, data: bytes) -> dict[str, Any]:
    """What the tree says of a file."""
    entry = {"type": "file", "path": path, "size": len(data), "oid": git_id(data)}
    if is_large(path):
        entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
    return entry


class Hub(ThreadingHTTPServer):
    """The server.

    Attributes:
        repos: by name. elsewhere: files outside the Hub by name, at `url/elsewhere/NAME`.
        faults: what goes wrong, by the path of a file. page: entries of a tree in one answer.
        ranges: whether it sends parts of files. asked: method, path and headers of each request.
        held: set once a file is held. released: lets it go on.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.lock = threading.Lock()
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.elsewhere: dict[str, bytes] = {}
        self.faults: dict[str, Faults] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.page = 1000
        self.ranges = True
        self.held, self.released = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def other_url(self) -> str:
        """The same server by another name: where the Hub keeps large files, and no token may go."""
        return f"http://localhost:{self.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a command in another process here."""
        return {"HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed while it reads is no fault of the server's."""

    def publish(
        self, name: str, folder: Path, revision: str = "main", *, gated: bool = False
    ) -> str:
        """Publish a folder as a repository at a revision, which may be a commit; its commit."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        whole = b"".join(f"{path}\0".encode() + data for path, data in files.items())
        commit = revision if re.fullmatch("[0-9a-f]{40}", revision) else git_id(whole)
        repo = self.repos.setdefault(name, Repo())
        repo.files[commit], repo.gated = files, gated
        repo.revisions |= {revision: commit, "main": commit}
        return commit

    def gets(self, path: str) -> list[dict[str, str]]:
        """The headers and the path of the requests for a file's content."""
        return [
            {**headers, "path": asked}
            for method, asked, headers in self.asked
            if method == "GET" and unquote(asked).endswith(f"/{path}")
        ]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that runs in a thread."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def client_of(server: Hub) -> Iterator[pytest.MonkeyPatch]:
    """A context in which the client in this process asks that hub, and has no token."""
    import huggingface_hub.constants

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        for variable, value in server.environment.items():
            patch.setenv(variable, value)
        patch.delenv("HF_TOKEN", raising=False)
        patch.setenv("HF_TOKEN_PATH", "/nonexistent")
        patch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nonexistent")
        yield patch


def publish_source(
    server: Hub, patch: pytest.MonkeyPatch, source: type[PublishedSource], folder: Path
) -> None:
    """Publish a fixture as what a source's card names: its repository at its revision, and what the
    card has outside of the Hub under addresses of this server."""
    card = source.card
    outside = {file.path for file in card.files if file.url is not None}
    if card.repo is not None:
        server.publish(card.repo, folder, card.revision, gated=card.gated)
        commit = server.repos[card.repo].revisions[card.revision]
        files = server.repos[card.repo].files
        files[commit] = {path: d for path, d in files[commit].items() if path not in outside}
    kept = []
    for file in card.files:
        here = folder / file.path
        if file.url is not None and here.is_file():
            server.elsewhere[file.path] = here.read_bytes()
            file = replace(file, url=f"{server.url}/elsewhere/{file.path}")
        # The hashes and sizes that a card knows are those of the real files, not of a fixture.
        kept.append(replace(file, sha256=None, md5=None, size=None))
    patch.setattr(source, "card", replace(card, files=tuple(kept)))


def fetched_cases(
    server: Hub,
    name: str,
    folder: Path,
    split: str,
    data: Path,
    *options: str,
    files: Sequence[str] = (),
) -> CaseList:
    """The cases of a split of a source, read from what `medgym cases get NAME` fetched.

    Args:
        server: a hub that runs.
        name: the source's, such as `vqa-rad`.
        folder: the fixture in the published layout.
        split: such as `train`; a slice may follow.
        data: an empty folder for the local copy.
        options: of the source besides, such as `language=en`.
        files: optional files of the card that are fetched too.
    """
    from typer.testing import CliRunner

    from medgym.commands.cases.app import app
    from medgym.registry import load

    source = load("sources", name)
    with client_of(server) as patch:
        patch.setenv("HF_TOKEN", TOKEN)
        publish_source(server, patch, source, folder)
        result = CliRunner().invoke(app, ["get", name, *files, "--data", str(data)])
        if result.exception is not None:
            raise result.exception
        server.repos.clear()  # what is opened is the copy
        spec = ",".join((name, f"data={data}", "counts=any", *options))
        return open_cases(f"{spec}:{split}")
