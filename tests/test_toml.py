"""What is wrong in a TOML file is said in one line with the key, the nearest one, and the file."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from medgym.errors import UserError
from medgym.toml import read_table, read_toml, toml_text


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid")
    share: float = Field(default=0.5, le=1)


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Row | None = None
    rows: tuple[Row, ...] = ()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"iner": {}}, "unknown key in file: 'a.iner'; did you mean 'a.inner'?"),
        (
            {"inner": {"shre": 1}},
            "unknown key in file: 'a.inner.shre'; did you mean 'a.inner.share'?",
        ),
        ({"inner": {"share": 2}}, "file: a.inner.share: Input should be less than or equal to 1"),
        ({"rows": [{"share": 3}]}, "file: a.rows.0.share: Input should be less than or equal to 1"),
        ({"rows": [{"x": 3}]}, "unknown key in file: 'a.rows.0.x'; did you mean 'a.rows.0.share'?"),
        ("x", "file: a: Input should be a valid dictionary or instance of Whole"),
    ],
)
def test_the_key_is_named_with_its_table(data: Any, text: str) -> None:
    with pytest.raises(UserError) as error:
        read_table(Whole, data, "file", "a")
    assert str(error.value) == text


def test_without_a_name_the_file_is_the_table() -> None:
    with pytest.raises(UserError, match="unknown key in file: 'iner'; did you mean 'inner'"):
        read_table(Whole, {"iner": {}}, "file")
    assert read_table(Whole, {"rows": [{}]}, "file").rows == (Row(),)


@pytest.mark.parametrize("content", [b"[a", b'a = "\xff"'])
def test_what_is_not_toml_is_said(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.toml is not TOML .*; fix"):
        read_toml(path)


def test_the_text_comes_with_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("a = 1\n")
    assert read_toml(path) == ({"a": 1}, "a = 1\n")


plain = st.recursive(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.one_of(
            st.booleans(),
            st.integers(-(2**62), 2**62),
            st.floats(allow_nan=False),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
            st.lists(st.integers(-9, 9), max_size=3),
        ),
        max_size=4,
    ),
    lambda tables: st.dictionaries(st.text("abc-", min_size=1, max_size=3), tables, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_toml_reads_back(tables: dict) -> None:
    assert tomllib.loads(toml_text(tables)) == tables


def test_toml_leaves_none_away() -> None:
    assert toml_text({"a": None, "b": 1}) == "b = 1\n"
