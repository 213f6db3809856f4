"""`medgym cases get`: the real client against a hub on the loopback."""

import csv
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from medgym.cases import Case
from medgym.cli import main
from medgym.errors import RunError, UserError
from medgym.imaging.study import ImageRef
from medgym.registry import load
from medgym.sources import cards
from medgym.sources.card import Card, PublishedFile, SplitCounts
from medgym.sources.published import PublishedSource
from medgym.sources.rows import RowCases
from medgym.uris import file_uri
from tests.serving.hub import TOKEN, Faults, Hub, client_of, publish_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Pears(PublishedSource):
    """A published set of two files, one of them large, and one from elsewhere."""

    name = "pears"
    splits = ("test",)
    card: ClassVar[Card] = Card(
        name="pears",
        title="Pears, a data set of the tests",
        home="https://huggingface.co/datasets/orchard/pears",
        repo="orchard/pears",
        revision=COMMIT,
        licence="CC BY 4.0",
        citation="A. Gardener: Pears. 2026.",
        splits={"test": SplitCounts(rows=2)},
        files=(
            PublishedFile("test.csv"),
            PublishedFile("data/*.zip"),
            PublishedFile("key.txt", url="https://zenodo.org/records/1/files/key.txt"),
            PublishedFile("extra/much.bin", optional=True),
        ),
        grouping="each picture",
        layout="test.csv and data/pears.zip",
    )

    def load(self, split: str) -> RowCases[Any]:
        with self.file("test.csv").open(newline="") as stream:
            rows = list(csv.reader(stream))
        images = self.file("data/pears.zip")

        def make(row: list[str]) -> Case:
            return Case(
                id=f"pears/{split}/{row[0]}",
                images=(ImageRef(uri=file_uri(images), member=row[0]),),
                question=row[1],
                answer=row[2],
                answer_type="open",
                group=row[0],
                source="pears",
                split=split,
            )

        return RowCases(rows, make, lambda n: f"row {n + 1} of test.csv")


LARGE = hashlib.sha256(b"pears").digest() * 10_000
"""320 kB that no compression makes smaller."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data set as it is published."""
    folder = tmp_path / "published"
    for path, data in {
        "README.md": b"licence: cc-by-4.0\n",
        "test.csv": b"a.png,Which?,conference\nb %20.png,Which?,williams\n",
        "data/pears.zip": LARGE,
        "key.txt": b"the key\n",
        "extra/much.bin": b"much" * 100,
        "other/not wanted.txt": b"no\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture
def client(
    hub: Hub,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_progress: None,
) -> Iterator[pytest.MonkeyPatch]:
    """The client of that hub, which has the data set; `pears` is registered."""
    monkeypatch.setattr(cards, "names", lambda kind: ("pears", "phantom"))
    monkeypatch.setattr(
        cards, "load", lambda kind, name: Pears if name == "pears" else load(kind, name)
    )
    with client_of(hub) as patch:
        publish_source(hub, patch, Pears, folder)
        yield patch


def get(data: Path, *options: str) -> str:
    """What the command says on both outputs."""
    result = CliRunner().invoke(app(), ["get", "pears", "--data", str(data), *options])
    if result.exception is not None:
        raise result.exception
    return result.output


def app() -> Any:
    from medgym.commands.cases.app import app

    return app


def test_a_data_set_is_fetched_and_read(client: Any, folder: Path, tmp_path: Path) -> None:
    said = get(tmp_path / "data")
    assert "CC BY 4.0" in said
    copy = tmp_path / "data" / "pears"
    for path in ("test.csv", "data/pears.zip", "key.txt", "README.md"):
        assert (copy / path).read_bytes() == (folder / path).read_bytes()
    assert {path.name for path in copy.iterdir()} == {
        *("test.csv", "data", "key.txt", "README.md", "LICENCE.txt", "medgym.json")
    }
    assert "CC BY 4.0" in (copy / "LICENCE.txt").read_text()
    found = Pears(data=str(tmp_path / "data")).cases("test")
    assert [case.answer for case in found] == ["conference", "williams"]


def test_json_says_what_came(client: Any, tmp_path: Path, capsys: Any) -> None:
    assert main(["cases", "get", "pears", "--data", str(tmp_path / "data"), "--json"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["commit"], said["fetched"]) == (COMMIT, 4)
    sums = {each["path"]: each.get("sha256") for each in said["files"]}
    assert sums["data/pears.zip"] == hashlib.sha256(LARGE).hexdigest()
    assert "CC BY 4.0" in err


def test_a_whole_copy_is_not_fetched_again(hub: Hub, client: Any, tmp_path: Path) -> None:
    get(tmp_path)
    count = len(hub.gets("pears.zip"))
    assert "0 bytes to fetch" in get(tmp_path)
    assert len(hub.gets("pears.zip")) == count
    (tmp_path / "pears" / "data" / "pears.zip").write_bytes(b"cut")
    get(tmp_path)
    assert (tmp_path / "pears" / "data" / "pears.zip").read_bytes() == LARGE


def test_an_optional_file_joins_a_whole_copy(hub: Hub, client: Any, tmp_path: Path) -> None:
    get(tmp_path)
    hub.faults["extra/much.bin"] = Faults(status=[503])
    with pytest.raises(RunError, match="HTTP 503"):
        get(tmp_path, "extra/*")
    assert len(Pears(data=str(tmp_path)).cases("test")) == 2  # it is still a whole copy
    get(tmp_path, "extra/much.bin")
    assert (tmp_path / "pears" / "extra" / "much.bin").is_file()
    with pytest.raises(UserError, match=r"no optional file 'apples'.*extra/much\.bin"):
        get(tmp_path, "apples")


def test_only_the_named_files_are_fetched(client: Any, tmp_path: Path) -> None:
    get(tmp_path, "--only", "data/pears.zip", "key.txt")
    there = {path.name for path in (tmp_path / "pears").rglob("*") if path.is_file()}
    assert there == {"pears.zip", "key.txt", "README.md", "LICENCE.txt", "medgym.json"}
    with pytest.raises(UserError, match=r"has no test\.csv, so it is no whole copy"):
        Pears(data=str(tmp_path)).cases("test")
    with pytest.raises(UserError, match=r"--only names no file.*test\.csv"):
        get(tmp_path, "--only")


def test_a_download_that_breaks_off_is_resumed(
    hub: Hub, client: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """First within the command, then, when nothing more comes, by the same command again."""
    client.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    client.setattr("time.sleep", lambda seconds: None)
    hub.faults["data/pears.zip"] = Faults(break_off=[100_500, 50_500, *[0] * 12])
    with pytest.raises(RunError, match="resumes"):
        get(tmp_path)
    with pytest.raises(UserError, match=r"half a download of pears.*medgym cases get pears"):
        Pears(data=str(tmp_path))
    hub.faults.clear()
    hub.asked.clear()
    assert "170 kB to fetch" in get(tmp_path)
    (asked,) = [headers for headers in hub.gets("pears.zip") if "/large/" in headers["path"]]
    assert asked["Range"] == "bytes=150000-"
    assert (tmp_path / "pears" / "data" / "pears.zip").read_bytes() == LARGE


def test_a_server_without_ranges_begins_again(
    hub: Hub, client: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    client.setattr("time.sleep", lambda seconds: None)
    hub.ranges = False
    hub.faults["data/pears.zip"] = Faults(break_off=[100_500])
    get(tmp_path)
    assert (tmp_path / "pears" / "data" / "pears.zip").read_bytes() == LARGE


@pytest.mark.parametrize("path", ["data/pears.zip", "test.csv"])
def test_other_bytes_are_refused(hub: Hub, client: Any, tmp_path: Path, path: str) -> None:
    hub.faults[path] = Faults(corrupt=True)
    with pytest.raises(RunError, match=f"{path} of pears came with other bytes"):
        get(tmp_path)
    assert not (tmp_path / "pears" / path).exists()
    with pytest.raises(UserError, match="half a download"):
        Pears(data=str(tmp_path))
    hub.faults.clear()
    get(tmp_path)
    assert len(Pears(data=str(tmp_path)).cases("test")) == 2


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_file_from_elsewhere_is_held_to_the_card(
    hub: Hub, client: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    right = hashlib.new(kind, b"the key\n").hexdigest()
    for given, refused in (("0" * len(right), True), (right, False)):
        files = [replace(f, **{kind: given}) if f.url else f for f in Pears.card.files]
        client.setattr(Pears, "card", replace(Pears.card, files=tuple(files)))
        if refused:
            with pytest.raises(RunError, match=rf"key\.txt of pears.*{kind}"):
                get(tmp_path)
        else:
            get(tmp_path)
    hub.elsewhere.clear()
    with pytest.raises(RunError, match=r"elsewhere/key\.txt answered with HTTP 404"):
        get(tmp_path)


def test_a_file_that_is_not_the_counted_one_is_refused(
    client: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = (replace(Pears.card.files[0], size=7), *Pears.card.files[1:])
    client.setattr(Pears, "card", replace(Pears.card, files=files))
    with pytest.raises(UserError, match=r"test\.csv of pears .* 50 bytes \(expected 7\)"):
        get(tmp_path)


def test_files_that_were_put_there_by_hand_stay(
    hub: Hub, client: Any, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "pears")
    assert len(Pears(data=str(tmp_path)).cases("test")) == 2
    get(tmp_path)
    assert [headers["path"] for headers in hub.gets("pears.zip")] == []


def test_what_cannot_be_fetched_is_one_line(
    hub: Hub, client: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"orchard/pears has no revision 'v9'.*--revision main"):
        get(tmp_path, "--revision", "v9")
    client.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        get(tmp_path)
    client.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    client.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RunError, match=r"cannot reach http://127\.0\.0\.1:9 .*check the network"):
        get(tmp_path)
    client.setenv("HF_ENDPOINT", hub.url)
    hub.repos["orchard/pears"].files[COMMIT].pop("test.csv")
    with pytest.raises(UserError, match=r"has no test\.csv at revision"):
        get(tmp_path)
    hub.repos["orchard/pears"].files[COMMIT]["test.csv"] = b""
    hub.repos["orchard/pears"].files[COMMIT]["data/../../x.zip"] = b"PK"
    client.setattr(
        Pears,
        "card",
        replace(Pears.card, files=(PublishedFile("test.csv"), PublishedFile("**/*.zip"))),
    )
    with pytest.raises(UserError, match="would lie outside"):
        get(tmp_path)
    hub.repos.clear()
    with pytest.raises(UserError, match="has no data set orchard/pears, or it is private"):
        get(tmp_path)
    with pytest.raises(UserError, match="published data set 'phantom'"):
        CliRunner().invoke(app(), ["get", "phantom"], catch_exceptions=False)
    assert not (tmp_path / "pears").exists()


def test_a_gated_set_wants_a_token_which_stays_with_the_hub(
    hub: Hub, client: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    hub.publish("orchard/pears", folder, COMMIT, gated=True)
    for token in (None, "hf_of_a_stranger"):
        if token:
            client.setenv("HF_TOKEN", token)
        with pytest.raises(UserError, match=r"pears is gated.*accept the terms.*hf auth login"):
            get(tmp_path)
    client.setenv("HF_TOKEN", TOKEN)
    hub.asked.clear()
    get(tmp_path)
    for _, path, headers in hub.asked:
        on_the_hub = path.startswith(("/api/", "/datasets/"))
        assert ("authorization" in {name.lower() for name in headers}) == on_the_hub, path


def test_a_full_disk_is_known_before_the_download(
    hub: Hub, client: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    client.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"pears needs 320 kB more in .*, and 1 MB are free"):
        get(tmp_path)
    assert not hub.gets("pears.zip")


def test_a_tree_of_many_pages(hub: Hub, client: Any, tmp_path: Path) -> None:
    hub.page = 2
    get(tmp_path)
    assert len(Pears(data=str(tmp_path)).cases("test")) == 2


def test_only_one_process_fetches_into_a_folder(client: Any, tmp_path: Path) -> None:
    parts = tmp_path / "pears" / ".medgym-parts"
    parts.mkdir(parents=True)
    with (parts / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process fetches pears"):
            get(tmp_path)


KILLED = """
import sys
from tests.sources.hub.test_get import Pears
from medgym.sources.hub.fetch import fetch, plan
from pathlib import Path
from dataclasses import replace
files = tuple(f for f in Pears.card.files if f.url is None)
fetch(plan(replace(Pears.card, files=files), Path(sys.argv[1])))
"""


def test_a_killed_download_is_resumed(hub: Hub, client: Any, folder: Path, tmp_path: Path) -> None:
    """`kill -9` in the middle: what came stays, and is never taken for the whole."""
    large = hashlib.sha256(b"many pears").digest() * 400_000  # more than the client's one block
    (folder / "data" / "pears.zip").write_bytes(large)
    hub.publish("orchard/pears", folder, COMMIT)
    hub.faults["data/pears.zip"] = Faults(hold=11_000_000)
    environment = os.environ | hub.environment
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "pears")], env=environment
    )
    part = tmp_path / "pears" / ".medgym-parts"
    assert hub.held.wait(60)
    while not any(path.stat().st_size >= 10_000_000 for path in part.iterdir()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.released.set()
    with pytest.raises(UserError, match="half a download of pears"):
        Pears(data=str(tmp_path))
    hub.faults.clear()
    hub.asked.clear()
    get(tmp_path)
    ranges = [h["Range"] for h in hub.gets("pears.zip") if "/large/" in h["path"]]
    assert ranges == [f"bytes={10 * 2**20}-"]
    assert (tmp_path / "pears" / "data" / "pears.zip").read_bytes() == large


def test_the_card_is_printed(client: Any, capsys: Any) -> None:
    assert main(["cases", "card", "pears"]) == 0
    said = capsys.readouterr().out
    for part in ("CC BY 4.0", COMMIT, "A. Gardener", "2 rows", "each picture"):
        assert part in said
    assert main(["cases", "card", "--json"]) == 0
    assert "pears" in [each["name"] for each in json.loads(capsys.readouterr().out)]
