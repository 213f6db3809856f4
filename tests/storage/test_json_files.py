"""A file that is damaged is one line with its path, whatever is wrong with it."""

from pathlib import Path

import pytest

from medgym.errors import UserError
from medgym.storage.json_files import read_json, read_lines

DAMAGED = {
    "missing": None,
    "empty": b"",
    "cut": b'{"a": 1, "b"',
    "no UTF-8": b'{"a": "\xff"}',
    "deep": b"[" * 100_000,
    "a list": b"[1]",
    "zeros": bytes(64),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "a.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=r"^(cannot read )?.*a\.json.*; fix: [^\n]+$"):
        read_json(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; fix: "):
        read_json(tmp_path)


def test_lines_are_read_and_a_torn_last_one_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for text, rows in (
        ("", []),
        ('{"step": 1}\n', [{"step": 1}]),
        ('{"step": 1}\n{"step": 2}', [{"step": 1}, {"step": 2}]),
        ('{"step": 1}\n{"st', [{"step": 1}]),
    ):
        path.write_text(text)
        assert read_lines(path) == rows


@pytest.mark.parametrize("text", ['{"step"\n{"step": 2}\n', "[1]\n", "\n{}\n"])
def test_a_damaged_line_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=r"a\.jsonl, line 1.*; fix: "):
        read_lines(path)
