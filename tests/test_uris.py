"""URIs of files: what is written is read back, whatever bytes a name has, and nothing else."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.cases import Case, read_cases, write_cases
from medgym.errors import UserError
from medgym.imaging.study import ImageRef, open_image
from medgym.uris import file_path, file_uri

ODD = b"a#b?c%31 %zz\n\r\t\xff\xc3\xb6;&=+.png"
"""A name with all that a URI gives a meaning to, line ends, and bytes that are not UTF-8."""

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


@given(st.binary(min_size=1, max_size=40))
def test_any_path_is_read_back(path: bytes) -> None:
    uri = file_uri(path)
    assert uri.isascii()
    assert uri.isprintable()
    assert file_path(uri) == Path(os.fsdecode(path)).absolute()
    assert file_path(f"file:{os.fsdecode(path)}") == Path(os.fsdecode(path)) or path[:2] == b"//"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_path_as_it_stands_is_itself(name: str) -> None:
    assert file_path(f"file:/data/{name}") == Path(f"/data/{name}")


def test_a_file_of_any_name_is_opened_and_no_other(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), ODD)))
    path.write_bytes(PNG)
    case = Case(
        id="a/b/c", images=(ImageRef(uri=file_uri(path)),),
        question="?", answer="x", group="", source="a", split="b",
    )  # fmt: skip
    write_cases([case], tmp_path / "cases.jsonl")
    assert open_image(read_cases(tmp_path / "cases.jsonl")[0].images[0]).size == (1, 1)
    for decoy in ("a", "scan1.png", "scan"):
        (tmp_path / decoy).write_bytes(PNG)
    for name in ("a#b.png", "a?b.png", "scan%31.png", "scan#.png", "scan1.png\n"):
        for uri in (f"file:{tmp_path}/{name}", file_uri(tmp_path / name)):
            with pytest.raises(UserError, match="no such image"):
                open_image(ImageRef(uri=uri))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///data/a%20b.png", "/data/a b.png"),
        ("file://localhost/data/a.png", "/data/a.png"),
        ("file:///data/r\u00f6ntgen #1?.png", "/data/r\u00f6ntgen #1?.png"),
        ("file:/data/100%.png", "/data/100%.png"),
        ("file:a.png", "a.png"),
        ("phantom:train/ct/512/1", None),
        ("a.png", None),
    ],
)
def test_both_forms_are_read(uri: str, path: str | None) -> None:
    assert file_path(uri) == (None if path is None else Path(path))


@pytest.mark.parametrize("uri", ["file://otherhost/x.png", "file://a.png", "file://127.0.0.1/x"])
def test_a_file_on_another_machine_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match="on the machine") as error:
        open_image(ImageRef(uri=uri))
    assert "\n" not in str(error.value)
