"""Downloads that end early, or bring other bytes: resumed, refused, never taken for the whole."""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from medgym.errors import RunError, UserError
from medgym.sources.hub.download import download, part_of
from medgym.sources.hub.listing import RemoteFile
from tests.serving.hub import Faults, Hub
from tests.sources.hub.pears import COMMIT, LARGE, Pears, get


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


def test_a_file_that_changed_meanwhile_is_fetched_from_its_begin(
    hub: Hub, client: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    client.setattr("time.sleep", lambda seconds: None)
    hub.elsewhere["key.txt"] = LARGE
    hub.faults["key.txt"] = Faults(break_off=[50_500, *[0] * 12])
    with pytest.raises(RunError, match="resumes"):
        get(tmp_path)
    hub.faults.clear()
    hub.elsewhere["key.txt"] = LARGE[1:] + b"!"
    get(tmp_path)
    assert (tmp_path / "pears" / "key.txt").read_bytes() == LARGE[1:] + b"!"


def test_a_file_of_unknown_size_is_fetched_from_its_begin(
    hub: Hub, client: Any, tmp_path: Path
) -> None:
    """Its part may be whole already, and of a whole one no server has more."""
    hub.elsewhere["key.txt"] = LARGE
    file = RemoteFile("key.txt", f"{hub.url}/elsewhere/key.txt", None, tag="1")
    part = part_of(tmp_path, file)
    part.parent.mkdir()
    part.write_bytes(LARGE)
    download(Pears.card, tmp_path, file, lambda bytes: None, Event())
    assert (tmp_path / "key.txt").read_bytes() == LARGE


def test_a_file_that_ends_early_is_refused(hub: Hub, client: Any, tmp_path: Path) -> None:
    hub.faults["data/pears.zip"] = Faults(short=5)
    with pytest.raises(RunError, match=r"ended after 319,995 bytes \(expected 320,000\)"):
        get(tmp_path)
    assert not (tmp_path / "pears" / "data" / "pears.zip").exists()


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


def test_only_one_process_fetches_into_a_folder(client: Any, tmp_path: Path) -> None:
    parts = tmp_path / "pears" / ".medgym-parts"
    parts.mkdir(parents=True)
    with (parts / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process fetches pears"):
            get(tmp_path)


KILLED = """
import sys
from tests.sources.hub.pears import Pears
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
