"""Images are found in a folder or in a zip, however many folders lie around them."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.imaging.containers.members import held_member
from medgym.sources.image_files import ImageFiles
from medgym.uris import file_path

NAMES = ("a/100%15 #1?.png", "b/..hidden.png", "c d.png", "é.png")


def held(files: ImageFiles, name: str) -> bytes:
    """What the file holds that the reference names."""
    ref = files.ref(name)
    path = file_path(ref.uri)
    assert path is not None
    if ref.member is None:
        return path.read_bytes()
    member = held_member(path, ref.member)
    member.file.seek(0)
    return member.file.read()


def stored(path: Path, inner: str, names: Sequence[str] = NAMES) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(inner + name, name)
    else:
        for name in names:
            (path / inner / name).parent.mkdir(parents=True, exist_ok=True)
            (path / inner / name).write_text(name)
    return path


@pytest.mark.parametrize("inner", ["", "imgs/", "Set 100%/"])
@pytest.mark.parametrize("kind", ["imgs", "imgs.zip"])
def test_odd_names_are_read_as_they_stand(tmp_path: Path, kind: str, inner: str) -> None:
    files = ImageFiles(stored(tmp_path / kind, inner), ("missing.png", *NAMES))
    for name in NAMES:
        assert files.read(name) == held(files, name) == name.encode()
        assert files.fault(name) is None
    assert files.read("missing.png") is None


@pytest.mark.parametrize("name", ["../a.png", "b/../../a.png", "/etc/passwd", " ", ""])
def test_a_name_outside_the_folder_is_a_fault(name: str) -> None:
    assert ImageFiles.fault(name) is not None


def test_half_a_zip_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path / "imgs.zip", "")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"imgs.zip is not a whole zip; fix: copy it again"):
        ImageFiles(path, NAMES)


def damaged(data: bytearray) -> None:
    place = data.index(b"a/b.json") + len(b"a/b.json")
    data[place : place + 3] = b"\xff\xff\xff"


def encrypted(data: bytearray) -> None:
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (damaged, r"'a/b.json' of .*imgs.zip is damaged; fix: copy the zip again"),
        (encrypted, r"imgs.zip is encrypted; fix: unpack it"),
        (lambda data: None, r"'a/b.json' of .* unpacks to [^,]*, beyond .*; fix: raise"),
    ],
)
def test_a_member_that_cannot_be_unpacked_is_named(
    change: Callable[[bytearray], None],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "imgs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.json", bytes(4 * 2**20))
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    monkeypatch.setenv("MEDGYM_IMAGE_MEMORY", "1MiB")
    files = ImageFiles(path, ["b.json"])
    if change in (damaged, encrypted):
        monkeypatch.setenv("MEDGYM_IMAGE_MEMORY", "8MiB")
    with pytest.raises(UserError, match=said):
        files.read("b.json")
