"""Columns of Arrow from Python values, without pandas.

`pyarrow.array` imports pandas wherever it is installed, which takes a quarter of a second of a
processor and 40 MB: more than most runs need for all that they write.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow

_CODES = {"int8": "b", "int32": "i", "int64": "q", "double": "d"}
"""By the name of a type of numbers: its code of `array`, which takes no text and rounds nothing."""

_MOST = 2**31 - 1
"""Bytes of text, or items of lists, in one column."""


def column_of(values: Sequence[Any], kind: "pyarrow.DataType") -> "pyarrow.Array":
    """Values as a column, as `pyarrow.array(values, kind)` makes it.

    Args:
        values: None stands for no value. A struct is a mapping; what it lacks is no value.
        kind: of texts, truth values, numbers of `_CODES`, structs, or lists of these.

    Raises:
        TypeError: a value is of another kind, or the kind is another.
        OverflowError: a number is out of range, or there is too much for one column.
        ValueError: a list of a fixed size has another one.
    """
    import pyarrow
    from pyarrow import types

    present = [value is not None for value in values]
    missing = len(present) - sum(present)
    held = _bits(present) if missing else None
    buffers: list[Any]
    children: list[pyarrow.Array] = []
    if types.is_struct(kind):
        rows: list[Mapping[str, Any]] = [{} if value is None else value for value in values]
        children = [column_of([row.get(each.name) for row in rows], each.type) for each in kind]
        buffers = [held]
    elif types.is_list(kind):
        items = [() if value is None else value for value in values]
        buffers = [held, _ends(map(len, items))]
        children = [column_of(list(chain.from_iterable(items)), kind.value_type)]
    elif types.is_fixed_size_list(kind):
        nothing = (None,) * kind.list_size
        items = [nothing if value is None else value for value in values]
        if any(len(each) != kind.list_size for each in items):
            raise ValueError(f"a list has another size than {kind.list_size}")
        buffers = [held]
        children = [column_of(list(chain.from_iterable(items)), kind.value_type)]
    elif types.is_string(kind):
        texts = [b"" if value is None else str.encode(value) for value in values]
        buffers = [held, _ends(map(len, texts)), pyarrow.py_buffer(b"".join(texts))]
    elif types.is_boolean(kind):
        if not all(value is None or isinstance(value, bool | np.bool_) for value in values):
            raise TypeError("a value is no truth value")
        buffers = [held, _bits([bool(value) for value in values])]
    elif (code := _CODES.get(str(kind))) is not None:
        numbers = array(code, [0 if value is None else value for value in values])
        buffers = [held, pyarrow.py_buffer(numbers)]
    else:
        raise TypeError(f"no column of {kind} is made here")
    return pyarrow.Array.from_buffers(
        kind, len(present), buffers, null_count=missing, children=children
    )


def table_of(rows: Sequence[Mapping[str, Any]], schema: "pyarrow.Schema") -> "pyarrow.Table":
    """Rows as a table, as `pyarrow.Table.from_pylist` makes it; errors as of `column_of`."""
    import pyarrow

    columns = [column_of([row.get(each.name) for row in rows], each.type) for each in schema]
    return pyarrow.Table.from_arrays(columns, schema=schema)


def _bits(said: Sequence[bool]) -> "pyarrow.Buffer":
    import pyarrow

    return pyarrow.py_buffer(np.packbits(np.array(said, bool), bitorder="little"))


def _ends(lengths: Iterable[int]) -> "pyarrow.Buffer":
    import pyarrow

    ends = list(accumulate(lengths, initial=0))
    if ends[-1] > _MOST:
        raise OverflowError(f"{ends[-1]} bytes or items are too many for one column")
    return pyarrow.py_buffer(array("i", ends))
