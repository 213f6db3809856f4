"""What a client may name of a folder: the images in it, by their paths in it."""

import os
from pathlib import Path

import pytest

from medgym.errors import ToolError, UserError
from medgym.tools.mcp import served_folder
from medgym.tools.mcp.served_folder import ServedFolder


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/etc/passwd", "no path in the folder"),
        ("../secret.png", "no path in the folder"),
        ("eyes/../../secret.png", "no path in the folder"),
        ("eyes/..", "no path in the folder"),
        ("", "no path in the folder"),
        ("a\x00b", "no path in the folder"),
        ("..\\secret.png", "no path in the folder"),
        ("link.png", "a symbolic link"),
        ("linked/secret.png", "a symbolic link"),
        (".hidden.png", "hidden"),
        ("eyes/right.png", "there is no image"),
        ("ct.dcm/x", "there is no image"),
        ("x" * 5000, "there is no image"),
        ("\ud800", "there is no image"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(folder: Path, name: str, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        ServedFolder(folder).path(name)


def test_pipes_and_devices_are_refused_and_not_listed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scan.png")
    served = ServedFolder(tmp_path)
    with pytest.raises(ToolError, match="no regular file"):
        served.path("scan.png")
    assert served.listed() == ([], False)


def test_images_are_listed_by_their_paths_in_the_folder(folder: Path) -> None:
    served = ServedFolder(folder)
    assert served.listed() == (["ct.dcm", "eyes/left.png"], False)
    assert served.listed("eyes") == (["eyes/left.png"], False)
    assert all(served.path(name).is_file() for name in served.listed()[0])
    with pytest.raises(ToolError, match="no folder"):
        served.listed("ct.dcm")


def test_a_folder_of_dicom_files_is_one_image(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "series").mkdir()
    for number in range(3):
        (tmp_path / "series" / f"{number}.dcm").touch()
    (tmp_path / "a\nb.png").touch()  # a name that would be two lines is left out
    served = ServedFolder(tmp_path)
    assert served.listed() == (["series/"], False)
    assert served.path("series/").is_dir()
    assert served.listed("series/")[0] == ["series/0.dcm", "series/1.dcm", "series/2.dcm"]


def test_a_listing_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").touch()
    monkeypatch.setattr(served_folder, "MOST_LISTED", 3)
    assert ServedFolder(tmp_path).listed() == (["0.png", "1.png", "2.png"], True)


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(UserError, match="fix:"):
            ServedFolder(path)
