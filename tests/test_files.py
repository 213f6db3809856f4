"""Files that a user names: regular ones are opened, and nothing that could wait for ever is."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from medgym import files
from medgym.cases import read_cases
from medgym.errors import UserError
from medgym.files import open_regular, read_text
from medgym.imaging.study import ImageRef, open_file, open_image
from medgym.storage.json_files import read_json, read_lines
from medgym.toml import read_toml


def refusal(act: Callable[[Path], object], path: Path) -> str:
    """What is said of a file that is not opened: one line that names it and a fix."""
    with pytest.raises(UserError) as error:
        act(path)
    text = str(error.value)
    assert str(path) in text
    assert "fix: " in text
    assert "\n" not in text
    return text


def test_a_regular_file_is_read_and_so_is_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("one\r\ntwo: ä".encode())
    (tmp_path / "b").symlink_to("a")
    assert read_text(tmp_path / "b") == "one\ntwo: ä"
    with open_regular(tmp_path / "a") as stream:
        assert stream.read(3) == b"one"


@pytest.mark.parametrize(
    "act", [open_regular, read_text, open_file, read_toml, read_cases, read_json, read_lines]
)
def test_a_named_pipe_is_refused_at_once(tmp_path: Path, act: Callable[[Path], object]) -> None:
    """Opening one would wait until another process writes: the test would never end."""
    path = tmp_path / "a.jsonl"
    os.mkfifo(path)
    (tmp_path / "link.jsonl").symlink_to(path)
    assert "named pipe" in refusal(act, path)
    assert "named pipe" in refusal(act, tmp_path / "link.jsonl")


def test_a_pipe_that_takes_a_files_place_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    real = os.stat(tmp_path / "file")
    monkeypatch.setattr(files.os, "stat", lambda path: real)  # what it was when it was looked at
    assert "named pipe" in refusal(open_regular, tmp_path / "pipe")


def test_sockets_devices_and_folders_without_images_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        assert "is a socket" in refusal(open_file, tmp_path / "socket")
    for device in ("/dev/zero", "/dev/null", "/dev/tty"):
        assert "is a device" in refusal(open_file, Path(device))
    assert "is a socket" in refusal(open_file, tmp_path)  # it may hold a series
    (tmp_path / "folder").mkdir()
    assert "holds no DICOM image; fix: " in refusal(open_file, tmp_path / "folder")


def test_links_in_a_circle_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    assert "symbolic links" in refusal(open_file, tmp_path / "a.png")
    assert "symbolic links" in refusal(
        lambda path: open_image(ImageRef(uri=path.as_uri())), tmp_path / "a.png"
    )
