"""Columns are those of `pyarrow.array`, and no pandas is imported for them."""

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgym.arrow_columns import column_of, table_of

_PLAIN: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float64(), st.floats(allow_nan=False)),
]


@st.composite
def _kinds(draw: st.DrawFn, depth: int = 2) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
    which = draw(st.sampled_from(["plain", "list", "fixed", "struct"] if depth else ["plain"]))
    if which == "plain":
        return draw(st.sampled_from(_PLAIN))
    kind, values = draw(_kinds(depth - 1))
    values = st.none() | values
    if which == "list":
        return pa.list_(kind), st.lists(values, max_size=3)
    if which == "fixed":
        return pa.list_(kind, 2), st.lists(values, min_size=2, max_size=2)
    other, others = draw(_kinds(depth - 1))
    rows = st.fixed_dictionaries({}, optional={"a": values, "b": st.none() | others})
    return pa.struct({"a": kind, "b": other}), rows


@given(st.data())
def test_a_column_is_that_of_arrow(data: st.DataObject) -> None:
    kind, values = data.draw(_kinds())
    rows = data.draw(st.lists(st.none() | values, max_size=12))
    made = column_of(rows, kind)
    made.validate(full=True)
    assert made.equals(pa.array(rows, kind))
    assert made.to_pylist() == pa.array(rows, kind).to_pylist()
    assert made.null_count == rows.count(None)


def test_rows_are_a_table() -> None:
    schema = pa.schema({"a": pa.string(), "b": pa.list_(pa.int32())})
    rows = [{"a": "x", "b": [1]}, {"b": None}, {"a": "z", "c": 3}]
    assert table_of(rows, schema).equals(pa.Table.from_pylist(rows, schema))
    assert table_of([], schema).equals(pa.Table.from_pylist([], schema))


@pytest.mark.parametrize(
    ("values", "kind", "error"),
    [
        (["3"], pa.int64(), TypeError),
        ([1.5], pa.int32(), TypeError),
        ([128], pa.int8(), OverflowError),
        (["1.5"], pa.float64(), TypeError),
        ([3], pa.string(), TypeError),
        ([b"x"], pa.string(), TypeError),
        ([1], pa.bool_(), TypeError),
        ([[1, 2, 3]], pa.list_(pa.int8(), 2), ValueError),
        ([1], pa.date32(), TypeError),
    ],
)
def test_what_is_of_another_kind_is_refused(
    values: list[Any], kind: pa.DataType, error: type[Exception]
) -> None:
    with pytest.raises(error):
        column_of(values, kind)


def test_pandas_is_not_imported() -> None:
    program = """
import sys, pyarrow as pa
from medgym.arrow_columns import table_of
table_of([{"a": [{"b": 1.5}]}], pa.schema({"a": pa.list_(pa.struct({"b": pa.float64()}))}))
sys.exit("pandas" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
